"""Requests are served by a fixed number of threads, each with the one database connection that it keeps.

Django takes a new thread, so a new connection, for every request that is under way: 200 at once take all that the
database has, from the workers too. Here each kind of request has lanes of its own: strangers, with whatever tokens and
sessions they make up, and logins, whose passwords take long to hash, hold up nobody with a token or a session of ours,
reading holds up no change, and no change what makes trading safer. In each kind people take turns, whatever number of
tokens and sessions they have (one counts by itself until it is served for the first time), and of strangers and
probes addresses do. Nobody is sent away, which would only have them come back at once: a process has no more requests
than connections, and who leaves waits no longer. A small body is kept out by nobody else's; what waits on a slow client
(its body, its answer) takes neither a lane nor a turn; of slow bodies only the latest are waited for, and of answers as
many as have room. Who logs in where somebody has before does not wait among strangers, and a token that was refused
does from then on.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings

from helios.web.bodies import refuse
from helios.web.credentials import credential, marked_cookie
from helios.web.lifespan import Application, Message, Receive, Send
from helios.web.proxies import address_of

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PROBES, LOGIN = "/health", "/admin/login/"
BROWSER: Final = "helios_browser"  # the cookie of a browser in which somebody has logged in
SAFER: Final = ("/halt", "/reduce", "/stop", "/kill-switch", "/disable", "/open", "/pause", "/abort", "/end")
# And `web_threads` for reading.
THREADS: Final = {"alive": 1, "probe": 1, "stranger": 2, "login": 1, "change": 4, "desk": 2, "safer": 2}
EACH: Final = 256  # bodies that may be on their way, of one token, session or address
BY_ADDRESS: Final = frozenset({"stranger", "alive", "probe"})
LARGE: Final = frozenset({"read", "change"})  # kinds whose bodies may be large
SMALL_BODY: Final = 65_536  # bytes, of all other kinds
BUFFERED: Final = 64 * 1_048_576  # bytes of all bodies beyond that which are kept at a time
BUFFERED_EACH: Final = 8 * 1_048_576  # and of those of one token or session
ANSWERS: Final = 64 * 1_048_576  # bytes of all answers that wait for their clients
BODY_S, PART_S = 30.0, 5.0  # for all of a body to come, and for its next part
TURN: Final = "helios.turn"  # in a scope: what waits for a thread
SOMEBODY, NOBODY = "helios.somebody", "helios.nobody"  # in a scope: who was known, or whose session is nobody's
REMEMBERED: Final = 1_024  # tokens and sessions that were refused, and others whose user is known
RETRY_S: Final = 1


class RefusedError(Exception):
    """A request that is sent away before Django sees it."""


class Lanes:
    """Threads of which each serves one request at a time; the one that was used last is taken first.

    Whoever waits for one takes turns with the others, however many requests each of them has.
    """

    def __init__(self, count: int, name: str) -> None:
        self._free = [ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{name}-{place}") for place in range(count)]
        self._turns: dict[str, deque[asyncio.Future[ThreadPoolExecutor]]] = {}  # who is first is next

    @asynccontextmanager
    async def one(self, whose: str, scope: Message) -> AsyncIterator[None]:
        """Wait for a thread that is free; whatever Django does inside runs in it. Raises: RefusedError, by `leave`."""
        thread = self._free.pop() if self._free else await self._turn(whose, scope)
        try:
            async with ThreadSensitiveContext(executor=thread):
                yield
        finally:
            try:  # a client may have left meanwhile: the thread is free when it has done what it was at
                await asyncio.wrap_future(thread.submit(int))
            finally:
                self._give(thread)

    async def _turn(self, whose: str, scope: Message) -> ThreadPoolExecutor:
        turn: asyncio.Future[ThreadPoolExecutor] = asyncio.get_running_loop().create_future()
        scope[TURN] = turn
        self._turns.setdefault(whose, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came, and then it was given up
                self._give(turn.result())
            raise

    def _give(self, thread: ThreadPoolExecutor) -> None:
        while self._turns:
            whose = next(iter(self._turns))
            waiting = self._turns.pop(whose)
            turn = waiting.popleft()
            if waiting:
                self._turns[whose] = waiting  # last now
            if not turn.done():
                turn.set_result(thread)
                return
        self._free.append(thread)


def leave(scope: Message) -> None:
    """Whoever has left waits for no thread."""
    if (turn := scope.get(TURN)) and not turn.done():
        turn.set_exception(RefusedError(HTTPStatus.BAD_REQUEST, "a client must wait for its answer, did not"))


def kind(scope: Message) -> tuple[str, str]:
    """Which lanes serve a request, and with which token, session or browser, by its head alone.

    Whether that still holds, Django finds out.
    """
    path = scope["path"]
    if path.startswith(PROBES):
        return ("alive" if path == PROBES else "probe"), ""  # the first asks for nothing, and waits for nothing
    if path == LOGIN:  # a session may be anybody's who was let in once; a browser is counted by itself
        browser = marked_cookie(scope["headers"], BROWSER)
        return ("login", browser) if browser else ("stranger", "")
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
    return method == "POST" and (path.endswith(SAFER) or path in settings.SAFER_PAGES)


def in_lanes(django: Application, *, reading: int) -> Application:
    """The application behind so many threads for reading, and `THREADS` for all else."""
    lanes = {each: Lanes(count, each) for each, count in {**THREADS, "read": reading}.items()}
    bodies, answers = Bodies(), Answers()
    refused_before, users = dict[str, str](), dict[str, str]()

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await django(scope, receive, send)
            return
        which, whose = kind(scope)
        if whose in refused_before:
            which = "stranger"
        turn = address_of(scope) if which in BY_ADDRESS else users.get(whose, whose)
        answer: list[Message] = []
        try:
            async with bodies.whole(receive, turn, _largest(which)) as body, lanes[which].one(turn, scope):
                await django(scope, _again(body, receive), _kept(answer))
        except RefusedError as refused:
            status, detail = refused.args
            again = [(b"retry-after", str(RETRY_S).encode())] if status == HTTPStatus.SERVICE_UNAVAILABLE else []
            await refuse(send, status, detail, *again)
            return
        if whose and which != "login":
            _remember(refused_before, users, whose, scope, answer)
        await answers.sent(answer, users.get(whose, turn), send)

    return application


class Bodies:
    """The large bodies of requests that are under way, which have a bound together and for each token or session."""

    def __init__(self) -> None:
        self.kept = Counter[str]()  # bytes, by whose they are
        self._coming: dict[str, dict[asyncio.Timeout, None]] = {}  # by whose they are, the oldest first

    @asynccontextmanager
    async def whole(self, receive: Receive, whose: str, limit: int) -> AsyncIterator[Message]:
        """A body in one message; what has not come, or is small, takes no room. None is read where none may come.

        Raises: RefusedError.
        """
        body, more, room = bytearray(), bool(limit), 0
        message: Message = {"type": "http.request"}
        try:
            try:
                async with asyncio.timeout(BODY_S) as patience, self._on_its_way(whose, patience):
                    while more:
                        async with asyncio.timeout(PART_S):
                            message = await receive()
                        more = message.get("more_body", False)
                        body += message.get("body", b"")
                        if len(body) > SMALL_BODY:
                            self.kept[whose] += len(body) - room
                            room = len(body)
                            self._check(room, whose, limit)
            except TimeoutError as error:
                late = (
                    f"a body must come within {BODY_S:g} s, each part within {PART_S:g} s, and before {EACH} more begin"
                )
                raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, f"{late}, did not") from error
            if message["type"] == "http.disconnect":
                raise RefusedError(HTTPStatus.BAD_REQUEST, "a body must come to its end, did not")
            yield {"type": "http.request", "body": bytes(body), "more_body": False}
        finally:
            self.kept[whose] -= room
            self.kept += Counter()  # without those that keep nothing

    @asynccontextmanager
    async def _on_its_way(self, whose: str, patience: asyncio.Timeout) -> AsyncIterator[None]:
        """Where too many come, the patience with the oldest ends."""
        coming = self._coming.setdefault(whose, {})
        if len(coming) == EACH:
            oldest = next(iter(coming))
            del coming[oldest]
            oldest.reschedule(0)
        coming[patience] = None
        try:
            yield
        finally:
            coming.pop(patience, None)
            if not coming:
                self._coming.pop(whose, None)

    def _check(self, own: int, whose: str, limit: int) -> None:
        if own > limit:
            detail = f"a body must have at most {limit} bytes here, or without a token or a session, was larger"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        if self.kept[whose] > BUFFERED_EACH or self.kept.total() > BUFFERED:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many bodies come at once; try again")


class Answers:
    """The answers that wait for their clients. Of too many bytes the oldest answer of whoever has most gives way."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Timeout, int]] = {}  # bytes, by whose they are, the oldest first

    async def sent(self, answer: list[Message], whose: str, send: Send) -> None:
        """Send; what gives way ends without its rest, which closes the connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as patience:
                self._waiting.setdefault(whose, {})[patience] = sum(len(each.get("body", b"")) for each in answer)
                try:
                    self._make_room()
                    for message in answer:
                        await send(message)
                finally:
                    self._forget(whose, patience)

    def _make_room(self) -> None:
        while sum((held := {each: sum(own.values()) for each, own in self._waiting.items()}).values()) > ANSWERS:
            most = max(held, key=held.__getitem__)
            oldest = next(iter(self._waiting[most]))
            self._forget(most, oldest)
            oldest.reschedule(0)

    def _forget(self, whose: str, patience: asyncio.Timeout) -> None:
        own = self._waiting.get(whose, {})
        own.pop(patience, None)
        if not own:
            self._waiting.pop(whose, None)


def _largest(which: str) -> int:
    """The bytes of a body of that kind of request, at most; a probe has none."""
    return BUFFERED_EACH if which in LARGE else 0 if which in {"alive", "probe"} else SMALL_BODY


def _remember(
    refused: dict[str, str], users: dict[str, str], whose: str, scope: Message, answer: list[Message]
) -> None:
    """Keep the last tokens and sessions that nobody is known by: they wait among strangers until one is known again.

    And whose the others are. Whether one is known stands in the scope: a page answers a session that has ended with the
    way to the login.
    """
    if user := scope.get(SOMEBODY):
        refused.pop(whose, None)
        _keep_last(users, whose, f"user {user}")
    elif scope.get(NOBODY) == whose or (answer and answer[0].get("status") == HTTPStatus.UNAUTHORIZED):
        _keep_last(refused, whose, "")


def _keep_last(kept: dict[str, str], whose: str, value: str) -> None:
    kept.pop(whose, None)
    kept[whose] = value
    if len(kept) > REMEMBERED:
        del kept[next(iter(kept))]


def _again(body: Message, receive: Receive) -> Receive:
    """The body from memory, then what else the client does; a body that nobody waited for is dropped as it comes."""
    rest = iter([body])

    async def received() -> Message:
        if whole := next(rest, None):
            return whole
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    return received


def _kept(answer: list[Message]) -> Send:
    async def keep(message: Message) -> None:
        answer.append(message)

    return keep
