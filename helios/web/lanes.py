"""Requests are served by a fixed number of threads, each with the one database connection that it keeps.

Django takes a new thread, so a new connection, for every request that is under way: 200 at once take all that the
database has, from the workers too. Here reading has its lanes and changing has others, so that no flood of reads holds
up the kill switch. What waits on a slow client (its body, its answer) takes no lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from asgiref.sync import ThreadSensitiveContext

from helios.web.bodies import refuse
from helios.web.lifespan import Application, Message, Receive, Send

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CHANGING_LANES: Final = 4
WAITING: Final = 256  # requests of a kind that may wait for a lane; more are sent away at once
BODY_S: Final = 30.0  # for all of a body to come
RETRY_S: Final = 1


class Lanes:
    """Threads of which each serves one request at a time; the one that was used last is taken first."""

    def __init__(self, count: int, name: str) -> None:
        self.waiting = 0
        self._free: asyncio.LifoQueue[ThreadPoolExecutor] = asyncio.LifoQueue()
        for number in range(count):
            self._free.put_nowait(ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{name}-{number}"))

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a thread that is free; whatever Django does inside runs in it."""
        self.waiting += 1
        try:
            thread = await self._free.get()
        finally:
            self.waiting -= 1
        try:
            async with ThreadSensitiveContext(executor=thread):
                yield
        finally:
            self._free.put_nowait(thread)


def in_lanes(django: Application, *, reading: int, changing: int = CHANGING_LANES) -> Application:
    """The application behind so many threads for reading and for changing; 503 when too many wait for one."""
    read, change = Lanes(reading, "read"), Lanes(changing, "change")

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await django(scope, receive, send)
            return
        lanes = read if scope["method"] in READING else change
        if lanes.waiting >= WAITING:
            retry = (b"retry-after", str(RETRY_S).encode())
            await refuse(send, HTTPStatus.SERVICE_UNAVAILABLE, f"{WAITING} requests wait already; try again", retry)
            return
        try:
            async with asyncio.timeout(BODY_S):
                body = await _whole(receive)
        except TimeoutError:
            await refuse(send, HTTPStatus.REQUEST_TIMEOUT, f"a body must come within {BODY_S:g} s, did not")
            return
        answer: list[Message] = []
        async with lanes.one():
            await django(scope, _again(body, receive), _kept(answer))
        for message in answer:
            await send(message)

    return application


async def _whole(receive: Receive) -> list[Message]:
    """The body as it came, up to its end or to the client's."""
    came = [await receive()]
    while came[-1].get("more_body"):
        came.append(await receive())
    return came


def _again(body: list[Message], receive: Receive) -> Receive:
    """The body from memory, then what else the client does."""
    rest = iter(body)

    async def received() -> Message:
        return next(rest, None) or await receive()

    return received


def _kept(answer: list[Message]) -> Send:
    async def keep(message: Message) -> None:
        answer.append(message)

    return keep
