"""What a web process starts beside Django, and ends with it: the threads that hear of changes.

ASGI servers say when a process begins and ends (asgi.readthedocs.io, lifespan protocol); Django does not listen.
A server that speaks no lifespan gets its listeners with the first request.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]  # scope, receive, send: each framework types them its way


def with_lifespan(django: Application, *, start: Callable[[], None], stop: Callable[[], None]) -> Application:
    """The application with what `start` starts and `stop` ends around it."""
    started = False

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal started
        if not started:
            started = True
            await to_thread(start)
        if scope["type"] == "lifespan":
            await _lifespan(receive, send, stop)
        else:
            await django(scope, receive, send)

    return application


async def _lifespan(receive: Receive, send: Send, stop: Callable[[], None]) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await to_thread(stop)
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
