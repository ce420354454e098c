"""Requests to VALR over REST: signed, paced, tried again, and behind the breaker `valr_api`.

Source of limits, headers and signature: VALR's API documentation, read 2026-11-28.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx
import orjson

from helios.breakers import breaker
from helios.env import Env
from helios.errors import Rejected, Transient

BREAKER: Final = "valr_api"
TIMEOUT_S: Final = 10.0
ANSWER_S: Final = 30.0  # for the whole of an answer
LARGEST: Final = 16 << 20  # bytes of it: all pairs are less than one of these
MOST_SHOWN: Final = 200
TRIES: Final = 4
FIRST_PAUSE_S: Final = 0.5  # doubled with each try
MINUTE_S: Final = 60.0
# Requests a route takes in so many seconds, without a key; the venue's own figures.
PUBLIC: Final = (30, MINUTE_S)
QUICK: Final = (20, 1.0)  # buckets, time and status
SIGNED: Final = (2_000, MINUTE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the venue has answered; `limited` says that it has had enough requests."""

    status: int
    limited: bool
    body: bytes


class Throttled(Transient):
    """The venue has had enough requests for this minute; it works, so no breaker counts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What signs a request; without one, only public routes answer."""

    key: str
    secret: str

    def headers(self, verb: str, path: str, body: str = "", *, now_ms: int) -> dict[str, str]:
        """The three headers of a signed request; `path` carries its query."""
        return {
            "X-VALR-API-KEY": self.key,
            "X-VALR-SIGNATURE": signature(self.secret, now_ms, verb, path, body),
            "X-VALR-TIMESTAMP": str(now_ms),
        }


def signature(secret: str, timestamp_ms: int, verb: str, path: str, body: str = "") -> str:
    """HMAC-SHA512 of timestamp, verb, path and body, in hexadecimal."""
    text = f"{timestamp_ms}{verb.upper()}{path}{body}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha512).hexdigest()


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


class Client:
    """One connection pool to VALR. `sleep` is how it waits between tries and for its turn."""

    def __init__(
        self,
        url: str,
        *,
        key: Key | None = None,
        sleep: Callable[[float], None] = time.sleep,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.key = key
        self._sleep = sleep
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=timeout_s, follow_redirects=False)
        self._paces = {limit: Pace(*limit) for limit in (PUBLIC, QUICK, SIGNED)}

    @classmethod
    def of(cls, env: Env) -> Self:
        """The client of this installation."""
        key = None
        if env.valr_api_key is not None and env.valr_api_secret is not None:
            key = Key(key=env.valr_api_key.get_secret_value(), secret=env.valr_api_secret.get_secret_value())
        return cls(env.valr_url, key=key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None, *, signed: bool = False) -> Any:
        """The JSON that a route answers. `signed` routes need a key.

        Raises: `Transient` where the venue does not answer properly after several tries, `CircuitOpen` while it is left
        alone, `Rejected` where it refuses the request.
        """
        for pause in (FIRST_PAUSE_S * 2**n for n in range(TRIES - 1)):
            try:
                return self._once(path, params, signed=signed)
            except Throttled:
                self._sleep(MINUTE_S - time.time() % MINUTE_S)  # the venue counts anew at the full minute
            except Transient:
                self._sleep(pause)
        return self._once(path, params, signed=signed)

    def _once(self, path: str, params: Mapping[str, str | int] | None, *, signed: bool) -> Any:
        quick = path.endswith(("/buckets", "/time", "/status"))
        self._paces[SIGNED if signed else QUICK if quick else PUBLIC].wait(self._sleep)
        with breaker(BREAKER, record_if=lambda error: not isinstance(error, Throttled)):
            return _read(self._sent(path, params, signed=signed), path)

    def _sent(self, path: str, params: Mapping[str, str | int] | None, *, signed: bool) -> Answer:
        request = self._http.build_request("GET", path, params=params)
        if signed:
            if self.key is None:
                raise Rejected(f"VALR's {path} needs VALR_API_KEY and VALR_API_SECRET")
            target = request.url.raw_path.decode()
            request.headers.update(self.key.headers("GET", target, now_ms=time.time_ns() // 1_000_000))
        try:
            return self._whole(self._http.send(request, stream=True), path)
        except httpx.HTTPError as error:
            raise Transient(f"VALR did not answer {path}: {type(error).__name__}") from error

    def _whole(self, response: httpx.Response, path: str) -> Answer:
        """The answer as it comes, while it is neither too long nor too slow."""
        body, deadline = bytearray(), time.monotonic() + ANSWER_S
        with contextlib.closing(response):
            for part in response.iter_bytes():
                body += part
                if len(body) > LARGEST:
                    raise Transient(f"VALR must answer {path} with {LARGEST >> 20} MiB at most, went on")
                if time.monotonic() > deadline:
                    raise Transient(f"VALR must answer {path} in {ANSWER_S:.0f} s, went on")
        limited = response.headers.get("x-valr-ratelimited") == "true"
        return Answer(status=response.status_code, limited=limited, body=bytes(body))


def _read(answer: Answer, path: str) -> Any:
    """The JSON of an answer; the venue tells some errors with status 200."""
    status = answer.status
    if status == httpx.codes.TOO_MANY_REQUESTS or answer.limited:
        raise Throttled(f"VALR has had enough requests for {path} in this minute")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Transient(f"VALR answered {path} with status {status}")
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    told = _told(found)
    if not httpx.codes.is_success(status):
        raise Rejected(f"VALR refused {path} with status {status}{told and f': {told}'}")
    if found is None:
        raise Transient(f"VALR must answer {path} in JSON, was {answer.body[:60]!r}")
    if told:
        raise Transient(f"VALR answered {path} with an error: {told}")
    return found


def _told(found: Any) -> str:
    """What an error says in its body, in one line; empty where the body is none of an error."""
    if not isinstance(found, dict) or not ({"code", "message"} <= found.keys() or "error" in found):
        return ""
    return " ".join(f"{shown(found.get('code', ''))} {shown(found.get('message') or found.get('error'))}".split())


def shown(value: Any) -> str:
    """What the venue has told, for a sentence."""
    try:
        return str(value)[:MOST_SHOWN]
    except RecursionError:
        return f"a {type(value).__name__}"
