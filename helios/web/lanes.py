"""Requests are served by a fixed number of threads, each with the one database connection that it keeps.

Django takes a new thread, so a new connection, for every request that is under way: 200 at once take all that the
database has, from the workers too. Here each kind of request has lanes of its own: strangers, with whatever tokens and
sessions they make up, and logins, whose passwords take long to hash, hold up nobody with a token or a session of ours,
reading holds up no change, and no change what makes trading safer. What waits on a slow client (its body, its answer)
takes no lane. Who logs in where somebody has before does not wait among strangers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings

from helios.web.bodies import refuse
from helios.web.credentials import credential, marked_cookie
from helios.web.lifespan import Application, Message, Receive, Send

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES, LOGIN = "/health", "/admin/login/"
BROWSER: Final = "helios_browser"  # the cookie of a browser in which somebody has logged in
SAFER: Final = ("/halt", "/reduce", "/stop", "/kill-switch", "/disable", "/open", "/pause", "/abort")
# And `web_threads` for reading.
THREADS: Final = {"probe": 1, "stranger": 2, "login": 1, "change": 4, "desk": 2, "safer": 2}
WAITING: Final = 256  # requests of a kind that may wait for a lane; more are sent away at once
STRANGERS_BODY: Final = 65_536  # bytes
BUFFERED: Final = 64 * 1_048_576  # bytes of all bodies that are kept at a time
BODY_S: Final = 30.0  # for all of a body to come
RETRY_S: Final = 1


class RefusedError(Exception):
    """A request that is sent away before Django sees it."""


class Lanes:
    """Threads of which each serves one request at a time; the one that was used last is taken first."""

    def __init__(self, count: int, name: str) -> None:
        self.waiting = 0
        self._free: asyncio.LifoQueue[ThreadPoolExecutor] = asyncio.LifoQueue()
        for number in range(count):
            self._free.put_nowait(ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{name}-{number}"))

    def check(self) -> None:
        """Raises: RefusedError, when too many requests wait for one of them."""
        if self.waiting >= WAITING:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"{WAITING} requests wait already; try again")

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


def kind(scope: Message) -> str:
    """Which lanes serve a request, by its head alone: whether a token or session of ours holds, Django finds out."""
    path = scope["path"]
    if path.startswith(PROBES):
        return "probe"
    if path == LOGIN:  # a session may be anybody's who was let in once; a browser is counted by itself
        return "login" if marked_cookie(scope["headers"], BROWSER) else "stranger"
    if not credential(scope["headers"]):
        return "stranger"
    if scope["method"] in READING:
        return "read"
    if not is_safer(scope["method"], path):
        return "change"
    return "desk" if path in settings.SAFER_PAGES else "safer"


def is_safer(method: str, path: str) -> bool:
    """Whether a request may make trading safer, by its address: of a page in the admin, its body tells."""
    return method not in READING and (path.endswith(SAFER) or path in settings.SAFER_PAGES)


def in_lanes(django: Application, *, reading: int) -> Application:
    """The application behind so many threads for reading, and `THREADS` for all else; 503 when too many wait."""
    lanes = {each: Lanes(count, each) for each, count in {**THREADS, "read": reading}.items()}
    bodies = Bodies()

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await django(scope, receive, send)
            return
        which = kind(scope)
        answer: list[Message] = []
        try:
            lanes[which].check()
            limit = STRANGERS_BODY if which == "stranger" else BUFFERED
            async with bodies.whole(receive, limit) as body, lanes[which].one():
                await django(scope, _again(body, receive), _kept(answer))
        except RefusedError as refused:
            status, detail = refused.args
            retry = [(b"retry-after", str(RETRY_S).encode())] if status == HTTPStatus.SERVICE_UNAVAILABLE else []
            await refuse(send, status, detail, *retry)
            return
        for message in answer:
            await send(message)

    return application


class Bodies:
    """The bodies of requests that are under way, which together have a bound."""

    def __init__(self) -> None:
        self.kept = 0  # bytes

    @asynccontextmanager
    async def whole(self, receive: Receive, limit: int) -> AsyncIterator[list[Message]]:
        """A body as it came, up to its end or to the client's. Raises: RefusedError."""
        came, own = list[Message](), 0
        try:
            try:
                async with asyncio.timeout(BODY_S):
                    while not came or came[-1].get("more_body"):
                        came.append(await receive())
                        size = len(came[-1].get("body", b""))
                        own, self.kept = own + size, self.kept + size
                        self._check(own, limit)
            except TimeoutError as error:
                late = f"a body must come within {BODY_S:g} s, did not"
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, late) from error
            yield came
        finally:
            self.kept -= own

    def _check(self, own: int, limit: int) -> None:
        if own > limit:
            detail = f"a body without a token or a session must have at most {limit} bytes, was larger"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        if self.kept > BUFFERED:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many bodies come at once; try again")


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
