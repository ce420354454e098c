"""Requests to VALR over REST, and what signs those of a stream: paced, tried again, and behind the breaker `valr_api`.

Source of limits, headers and signature: VALR's API documentation, read 2026-11-28.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from helios.env import Env
from trading.venues.rest import MINUTE_S, Pace, Params, RestClient

BREAKER: Final = "valr_api"
# Requests a route takes in so many seconds, without a key; the venue's own figures.
PUBLIC: Final = (30, MINUTE_S)
QUICK: Final = (20, 1.0)  # buckets and time


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What signs a request; without one, only public routes answer."""

    key: str
    secret: str

    @classmethod
    def of(cls, env: Env) -> Self | None:
        """The key of this installation, if it has one."""
        if env.valr_api_key is None or env.valr_api_secret is None:
            return None
        return cls(key=env.valr_api_key.get_secret_value(), secret=env.valr_api_secret.get_secret_value())

    def headers(self, verb: str, path: str, *, now_ms: int) -> dict[str, str]:
        """The three headers of a signed request without a body; `path` carries its query."""
        return {
            "X-VALR-API-KEY": self.key,
            "X-VALR-SIGNATURE": signature(self.secret, now_ms, verb, path),
            "X-VALR-TIMESTAMP": str(now_ms),
        }


def signature(secret: str, timestamp_ms: int, verb: str, path: str, body: str = "") -> str:
    """HMAC-SHA512 of timestamp, verb, path and body, in hexadecimal."""
    text = f"{timestamp_ms}{verb.upper()}{path}{body}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha512).hexdigest()


class Client(RestClient):
    """One connection pool to VALR."""

    venue, breaker, limited = "VALR", BREAKER, "x-valr-ratelimited"
    errors = ({"code", "message"}, {"error"})

    def __init__(self, url: str, *, sleep: Callable[[float], None] | None = None) -> None:
        super().__init__(url, sleep=sleep)
        self._paces = {limit: Pace(*limit) for limit in (PUBLIC, QUICK)}

    @classmethod
    def of(cls, env: Env) -> Self:
        """The client of this installation."""
        return cls(env.valr_url)

    def get(self, path: str, params: Params | None = None) -> Any:
        """The JSON that a public route answers. Raises: as `ask`."""
        quick = path.endswith(("/buckets", "/time"))
        return self.ask(path, params, pace=self._paces[QUICK if quick else PUBLIC])
