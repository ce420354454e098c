"""Requests to a venue over REST: paced, tried again, bounded, and behind the venue's breaker."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, ClassVar, Final, Self, TypeVar

import orjson
from requests import PreparedRequest, RequestException, Response, Session

from helios.breakers import CircuitOpen, breaker
from helios.errors import Rejected, Transient
from trading.venues import bounded
from trading.venues.answers import shown

TIMEOUT_S: Final = 10.0
TRIES: Final = 4
FIRST_PAUSE_S: Final = 0.5  # doubled with each try
PROMPT: Final = timedelta(seconds=2)  # in which a clock tells its time
MINUTE_S: Final = 60.0

T = TypeVar("T")
Params = Mapping[str, str | int]
Signing = Callable[[PreparedRequest], PreparedRequest]


class Throttled(Transient):
    """The venue has had enough requests until `pause_s` have passed; it works, so no breaker counts it."""

    def __init__(self, sentence: str, *, pause_s: float) -> None:
        super().__init__(sentence)
        self.pause_s = pause_s


@dataclass(slots=True)
class Pace:
    """At most so many calls in so many seconds, over the threads of this process."""

    calls: int
    seconds: float
    _made: deque[float] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, sleep: Callable[[float], None]) -> None:
        """Come back when the next call may be made, and count it."""
        with self._lock:
            now = time.monotonic()
            while self._made and now - self._made[0] >= self.seconds:
                self._made.popleft()
            start = now if len(self._made) < self.calls else self._made[-self.calls] + self.seconds
            self._made.append(start)
        if start > now:
            sleep(start - now)


def tried(once: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """What `once` answers, called again after pauses where that may help. Raises: as `once`, at its last try.

    A breaker that is open stays so for longer than these pauses.
    """
    for pause in (FIRST_PAUSE_S * 2**n for n in range(TRIES - 1)):
        try:
            return once()
        except CircuitOpen:
            raise
        except Throttled as error:
            sleep(error.pause_s)
        except Transient:
            sleep(pause)
    return once()


def ahead_s(ask: Callable[[], datetime]) -> float:
    """How far the clock that is asked is ahead of ours, in seconds, as of the middle of the request.

    Raises: `Transient` for one that took too long to say so, as when it waited for its turn.
    """
    before = datetime.now(UTC)
    told = ask()
    after = datetime.now(UTC)
    if not timedelta(0) <= after - before <= PROMPT:
        took_s = (after - before).total_seconds()
        raise Transient(f"a clock must tell its time within {PROMPT.seconds} s, took {took_s:.1f}")
    return (told - before - (after - before) / 2).total_seconds()


class Waiting:
    """A client as it waits between tries and for its turn: by `sleep` where it is given, else until `end_waits`."""

    def __init__(self, sleep: Callable[[float], None] | None) -> None:
        self._unwanted = threading.Event()
        self.sleep = sleep or self._wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its connections, and all waits."""
        self.end_waits()

    def end_waits(self) -> None:
        """Have whoever waits, or would from now on, give up with `Transient`, in whatever thread."""
        self._unwanted.set()

    def _wait(self, pause_s: float) -> None:
        if self._unwanted.wait(pause_s):
            raise Transient("a request was given up while it waited: nobody wants its answer any more")


class ClientMarket:
    """What every market is that asks through a client: closed with it, and patient as it is."""

    __slots__ = ()
    client: Waiting

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def end_waits(self) -> None:
        self.client.end_waits()


class RestClient(Waiting):
    """One connection pool to a venue."""

    venue: ClassVar[str]  # as sentences name it
    breaker: ClassVar[str]
    limited: ClassVar[str] = ""  # the header in which it says that it has had enough, whatever the status
    errors: ClassVar[tuple[set[str], ...]]  # an answer with all names of any of these tells an error

    def __init__(self, url: str, *, sleep: Callable[[float], None] | None = None) -> None:
        super().__init__(sleep)
        self.http = bounded.mounted(Session())
        self._url = url.rstrip("/")

    def close(self) -> None:
        super().close()
        self.http.close()

    def ask(self, path: str, params: Params | None, *, pace: Pace, sign: Signing | None = None) -> Any:
        """The JSON that a route answers; `sign` is what is done to each request before it is sent.

        Raises: `Transient` where the venue does not answer properly after several tries, `CircuitOpen` while it is left
        alone, `Rejected` where it refuses the request.
        """
        return tried(lambda: self._once(path, params, pace, sign), self.sleep)

    def _once(self, path: str, params: Params | None, pace: Pace, sign: Signing | None) -> Any:
        pace.wait(self.sleep)
        with breaker(self.breaker, record_if=lambda error: not isinstance(error, Throttled)):
            try:
                response = self.http.get(f"{self._url}{path}", params=params, auth=sign, timeout=TIMEOUT_S)
            except RequestException as error:
                raise Transient(f"{self.venue} did not answer {path}: {type(error).__name__}") from error
            except Transient as error:
                raise Transient(f"{self.venue} did not answer {path}: {error}") from error
            return self._read(response, path)

    def _read(self, response: Response, path: str) -> Any:
        """The JSON of an answer; venues tell some errors with status 200."""
        status, body = response.status_code, response.content
        if status == HTTPStatus.TOO_MANY_REQUESTS or response.headers.get(self.limited) == "true":
            sentence = f"{self.venue} has had enough requests for {path} in this minute"
            raise Throttled(sentence, pause_s=_pause_s(response.headers))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Transient(f"{self.venue} answered {path} with status {status}")
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = None
        told = self._told(found)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise Rejected(f"{self.venue} refused {path} with status {status}{told and f': {told}'}")
        if found is None:
            raise Transient(f"{self.venue} must answer {path} in JSON, was {body[:60]!r}")
        if told:
            raise Transient(f"{self.venue} answered {path} with an error: {told}")
        return found

    def _told(self, found: Any) -> str:
        """What an error says in its body, in one line; empty where the body is none of an error."""
        if not isinstance(found, dict) or not any(names <= found.keys() for names in self.errors):
            return ""
        return " ".join(f"{shown(found.get('code', ''))} {shown(found.get('message') or found.get('error'))}".split())


def _pause_s(headers: Mapping[str, str]) -> float:
    """Until the venue counts anew: as it says, else at the full minute; a minute at most."""
    now = time.time()
    for name, since in (("retry-after", 0.0), ("x-ratelimit-reset", now)):
        with contextlib.suppress(KeyError, ValueError):
            return min(MINUTE_S, max(1.0, float(headers[name]) - since))
    return MINUTE_S - now % MINUTE_S
