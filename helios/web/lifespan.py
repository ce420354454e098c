"""What a web process starts beside Django, and ends with it: the threads that hear of changes.

ASGI servers say when a process begins and ends (asgi.readthedocs.io, lifespan protocol); Django does not listen.
A server that speaks no lifespan gets its listeners with the first request.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from loguru import logger

from helios import flags
from helios.modules import listener as modules

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]  # scope, receive, send: each framework types them its way


def start_listeners() -> None:
    """Every listener of this process; one that cannot start is logged, and pages are served without it."""
    for start in (flags.start_listener, modules.attend):
        try:
            start()
        except Exception as error:  # noqa: BLE001 - the site must come up, if only with what it read itself
            logger.bind(listener=start.__module__, error=repr(error)).error("web.listener_failed")


def stop_listeners() -> None:
    """End them."""
    flags.stop_listener()
    modules.stop_listener()


def with_lifespan(django: Application) -> Application:
    """The application with listeners around it."""
    started = False

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal started
        if not started:
            started = True
            await to_thread(start_listeners)
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await django(scope, receive, send)

    return application


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await to_thread(stop_listeners)
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
