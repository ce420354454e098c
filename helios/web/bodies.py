"""Bodies are bounded before any of it is kept: Django writes what it is sent to disk before it asks who sends.

So is what a request says that its body is: Django reads parameters in time that grows with the square of their length,
in the loop of events, and Python keeps each name of a codec that there is not for good. No page takes files.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Final

from helios.web.lifespan import Application, Message, Receive, Send

LIMIT: Final = 4 * 1_048_576  # bytes; the API reads 1 MiB, a form of the admin 2.5 MB
DETAIL: Final = f"a body must have at most {LIMIT} bytes, was larger"
_WORD: Final = rb"[A-Za-z0-9!#$&^_.+-]{1,64}"
_TYPE: Final = re.compile(rb"(?i)(?!multipart/)%b/%b[ \t]*(;[ \t]*(charset=(utf-8|\"utf-8\"))?)?" % (_WORD, _WORD))
TYPE_DETAIL: Final = (
    "Content-Type must be one media type, as application/json, with no parameter but charset=utf-8, was another"
)


class _TooLargeError(Exception):
    """More came than may."""


def bounded(inner: Application, limit: int = LIMIT) -> Application:
    """The application behind limits of what a request may send, told in its head or found while it comes."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
        elif _announced(scope) > limit:
            await refuse(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, DETAIL)
        elif not _is_plain([value for name, value in scope["headers"] if name == b"content-type"]):
            await refuse(send, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, TYPE_DETAIL)
        else:
            try:
                await inner(scope, _counting(receive, limit), send)
            except _TooLargeError:
                await refuse(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, DETAIL)

    return application


def _is_plain(types: list[bytes]) -> bool:
    return not types or (len(types) == 1 and bool(_TYPE.fullmatch(types[0])))


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


async def refuse(send: Send, status: HTTPStatus, detail: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer with a problem before Django is asked, and close: whatever else comes is not read."""
    told, body = problem(status, detail, *headers)
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})


def problem(status: HTTPStatus, detail: str, *headers: tuple[bytes, bytes]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of such an answer."""
    fields = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    body = json.dumps(fields).encode()
    told = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *headers,
    ]
    return told, body
