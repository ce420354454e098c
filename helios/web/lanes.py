"""Requests are served by a fixed number of threads, each with the one database connection that it keeps.

Django takes a new thread, so a new connection, for every request that is under way: 200 at once take all that the
database has, from the workers too. Here each kind of request has lanes of its own: strangers, with whatever tokens and
sessions they make up, and logins, whose passwords take long to hash, hold up nobody with a token or a session of ours,
reading holds up no change, and no change what makes trading safer; of that, each token or session has a few places, and
a body that nobody else's keeps out. What waits on a slow client (its body, its answer) takes no lane. Who logs in where
somebody has before does not wait among strangers, and a token that was refused does from then on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
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
EACH: Final = 16  # requests of one token or session that may be under way to make trading safer
LARGE: Final = frozenset({"read", "change"})  # kinds whose bodies may be large
SMALL_BODY: Final = 65_536  # bytes, of all other kinds
BUFFERED: Final = 64 * 1_048_576  # bytes of all large bodies that are kept at a time
BODY_S, PART_S = 30.0, 5.0  # for all of a body to come, and for its next part
REMEMBERED: Final = 1_024  # tokens and sessions that were refused
RETRY_S: Final = 1


class RefusedError(Exception):
    """A request that is sent away before Django sees it."""


class Lanes:
    """Threads of which each serves one request at a time; the one that was used last is taken first."""

    def __init__(self, count: int, name: str) -> None:
        self.waiting = 0
        self._held = Counter[str]()
        self._free: asyncio.LifoQueue[ThreadPoolExecutor] = asyncio.LifoQueue()
        for number in range(count):
            self._free.put_nowait(ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{name}-{number}"))

    @contextmanager
    def place(self, whose: str) -> Iterator[None]:
        """Room for a request among those of one token or session, of all where none is given. Raises: RefusedError."""
        if whose and self._held[whose] >= EACH:
            detail = f"{EACH} requests of this token or session are under way already; try again"
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, detail)
        if not whose and self.waiting >= WAITING:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"{WAITING} requests wait already; try again")
        self._held[whose] += 1
        try:
            yield
        finally:
            self._held[whose] -= 1
            if not self._held[whose]:
                del self._held[whose]

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


def kind(scope: Message) -> tuple[str, str]:
    """Which lanes serve a request, and whose it is, by its head alone: whether that still holds, Django finds out."""
    path = scope["path"]
    if path.startswith(PROBES):
        return "probe", ""
    if path == LOGIN:  # a session may be anybody's who was let in once; a browser is counted by itself
        return ("login" if marked_cookie(scope["headers"], BROWSER) else "stranger"), ""
    whose = credential(scope["headers"])
    if not whose:
        return "stranger", ""
    if scope["method"] in READING:
        return "read", whose
    if not is_safer(scope["method"], path):
        return "change", whose
    return ("desk" if path in settings.SAFER_PAGES else "safer"), whose


def is_safer(method: str, path: str) -> bool:
    """Whether a request may make trading safer, by its address: of a page in the admin, its body tells."""
    return method not in READING and (path.endswith(SAFER) or path in settings.SAFER_PAGES)


def in_lanes(django: Application, *, reading: int) -> Application:
    """The application behind so many threads for reading, and `THREADS` for all else; 503 when too many wait."""
    lanes = {each: Lanes(count, each) for each, count in {**THREADS, "read": reading}.items()}
    large = Bodies()
    refused_before = dict[str, None]()

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await django(scope, receive, send)
            return
        which, whose = kind(scope)
        if whose in refused_before:
            which = "stranger"
        answer: list[Message] = []
        try:
            with lanes[which].place(whose if which in {"safer", "desk"} else ""):
                bodies, limit = (large, BUFFERED) if which in LARGE else (Bodies(), SMALL_BODY)
                async with bodies.whole(receive, limit) as body, lanes[which].one():
                    await django(scope, _again(body, receive), _kept(answer))
        except RefusedError as refused:
            status, detail = refused.args
            again = status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}
            await refuse(send, status, detail, *([(b"retry-after", str(RETRY_S).encode())] if again else []))
            return
        _remember(refused_before, whose, answer)
        for message in answer:
            await send(message)

    return application


class Bodies:
    """The bodies of requests that are under way, which together have a bound."""

    def __init__(self) -> None:
        self.kept = 0  # bytes

    @asynccontextmanager
    async def whole(self, receive: Receive, limit: int) -> AsyncIterator[Message]:
        """A body in one message; what has not come takes no room. Raises: RefusedError."""
        body, more = bytearray(), True
        try:
            try:
                async with asyncio.timeout(BODY_S):
                    while more:
                        async with asyncio.timeout(PART_S):
                            message = await receive()
                        more = message.get("more_body", False)
                        self.kept += len(message.get("body", b""))
                        body += message.get("body", b"")
                        self._check(len(body), limit)
            except TimeoutError as error:
                late = f"a body must come within {BODY_S:g} s, each part within {PART_S:g} s, did not"
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, late) from error
            if message["type"] == "http.disconnect":
                raise RefusedError(HTTPStatus.BAD_REQUEST, "a body must come to its end, did not")
            yield {"type": "http.request", "body": bytes(body), "more_body": False}
        finally:
            self.kept -= len(body)

    def _check(self, own: int, limit: int) -> None:
        if own > limit:
            detail = f"a body must have at most {limit} bytes here, or without a token or a session, was larger"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        if self.kept > BUFFERED:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many bodies come at once; try again")


def _remember(refused: dict[str, None], whose: str, answer: list[Message]) -> None:
    """Keep the last tokens and sessions that nobody is known by: they wait among strangers until one is known again."""
    refused.pop(whose, None)
    if whose and answer and answer[0].get("status") == HTTPStatus.UNAUTHORIZED:
        refused[whose] = None
        if len(refused) > REMEMBERED:
            del refused[next(iter(refused))]


def _again(body: Message, receive: Receive) -> Receive:
    """The body from memory, then what else the client does."""
    rest = iter([body])

    async def received() -> Message:
        return next(rest, None) or await receive()

    return received


def _kept(answer: list[Message]) -> Send:
    async def keep(message: Message) -> None:
        answer.append(message)

    return keep
