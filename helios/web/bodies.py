"""Bodies are bounded before any of it is kept: Django writes what it is sent to disk before it asks who sends."""

from __future__ import annotations

import json
from typing import Final

from helios.web.lifespan import Application, Message, Receive, Send

LIMIT: Final = 4 * 1_048_576  # bytes; the API reads 1 MiB, a form of the admin 2.5 MB
PROBLEM: Final = json.dumps(
    {
        "type": "about:blank",
        "title": "Content Too Large",
        "status": 413,
        "detail": f"a body must have at most {LIMIT} bytes, was larger",
    }
).encode()


class _TooLargeError(Exception):
    """More came than may."""


def bounded(inner: Application, limit: int = LIMIT) -> Application:
    """The application behind a limit of what a request may send, told in its head or found while it comes."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
        elif _announced(scope) > limit:
            await _refuse(send)
        else:
            try:
                await inner(scope, _counting(receive, limit), send)
            except _TooLargeError:
                await _refuse(send)

    return application


def _announced(scope: Message) -> int:
    given = dict(scope.get("headers", ())).get(b"content-length", b"")
    return int(given) if given.isdigit() and len(given) < 20 else 0


def _counting(receive: Receive, limit: int) -> Receive:
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > limit:
            raise _TooLargeError
        return message

    return counted


async def _refuse(send: Send) -> None:
    """Answer, and close: whatever else comes is not read."""
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(PROBLEM)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": PROBLEM})
