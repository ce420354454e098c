"""Requests to Alpaca's market data over REST: with a key, paced, tried again, and behind the breaker `alpaca_api`.

Source of limits and headers: Alpaca's description of its market data API, read 2026-11-28. Routes, parameters and pages
are alpaca-py's; what leaves this machine and what comes back goes through our own client, since that one waits for an
answer for ever, takes it whole whatever its size, and knows no breaker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Self

from alpaca.common.rest import RESTClient
from alpaca.data.historical.crypto import CryptoHistoricalDataClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from requests import PreparedRequest

from helios.env import Env
from helios.errors import Rejected, Transient
from trading.venues.answers import shown
from trading.venues.rest import MINUTE_S, Pace, RestClient

BREAKER: Final = "alpaca_api"
STANDARD: Final = (200, MINUTE_S)  # requests of the standard plan
READ: Final = (
    *("t", "o", "h", "l", "c", "v"),  # of bars
    *("p", "s", "i", "x", "u", "tks"),  # of trades
    *("bp", "bs", "ap", "as"),  # of quotes
)
LONGEST: Final = 64  # of a text
MOST_ROWS: Final = 10_000  # in one page
PAGES: Final = {
    "bars": 20,
    "trades": 100,
    "quotes": 1,
}  # of one question; bars fit into one, an hour of trades into some


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Who asks: no route answers without one."""

    key_id: str
    secret: str

    @classmethod
    def of(cls, env: Env) -> Self:
        """The key of this installation. Raises: `Rejected` where it has none."""
        if env.alpaca_key_id is None or env.alpaca_secret is None:
            raise Rejected("Alpaca needs HELIOS_ALPACA_KEY_ID and HELIOS_ALPACA_SECRET")
        return cls(key_id=env.alpaca_key_id.get_secret_value(), secret=env.alpaca_secret.get_secret_value())


class Client(RestClient):
    """One connection pool to Alpaca."""

    venue, breaker = "Alpaca", BREAKER
    errors = ({"message"},)

    def __init__(self, url: str, *, key: Key, sleep: Callable[[float], None] | None = None) -> None:
        super().__init__(url, sleep=sleep)
        self.key = key
        self._pace = Pace(*STANDARD)

    @classmethod
    def of(cls, env: Env) -> Self:
        """The client of this installation. Raises: `Rejected` where it has no key."""
        return cls(env.alpaca_data_url, key=Key.of(env))

    def get(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The object that a route answers. Raises: as `ask`, and `Transient` where it is none."""
        known = {name: value for name, value in params.items() if value is not None}
        given = {name: value.value if isinstance(value, Enum) else value for name, value in known.items()}
        found = self.ask(path, given, pace=self._pace, sign=self._sign)
        if not isinstance(found, dict):
            raise Transient(f"Alpaca must answer {path} with an object, was {shown(found)!r}")
        return found

    def _sign(self, request: PreparedRequest) -> PreparedRequest:
        request.headers.update({"APCA-API-KEY-ID": self.key.key_id, "APCA-API-SECRET-KEY": self.key.secret})
        return request


class _Paged(RESTClient):
    """What alpaca-py asks goes through our client, page by page."""

    def through(self, client: Client, version: str) -> Self:
        self._client, self._version, self._pages = client, version, 0
        return self

    def get(self, path: str, data: Any = None, **_: Any) -> dict[str, Any]:
        newest = "latest" in path.split("/")  # one of each symbol, and no list
        what = "quotes" if newest else path.rpartition("/")[2]
        shape = what if newest else f"lists of {what}"
        self._pages += 1
        if self._pages > PAGES[what]:
            raise Transient(f"Alpaca must answer {path} in {PAGES[what]} pages at most, went on")
        found = self._client.get(f"/{self._version}{path}", data)
        told = found.get(what) or {}
        if not isinstance(told, dict) or not all(isinstance(rows, dict if newest else list) for rows in told.values()):
            raise Transient(f"Alpaca must answer {path} with {shape} by symbol, was {shown(found)!r}")
        if sum(map(len, told.values())) > MOST_ROWS:
            raise Transient(f"Alpaca must answer {path} with {MOST_ROWS} {what} a page at most, told more")
        kept: dict[str, Any] = {
            code: _figures(rows) if newest else [_figures(row) for row in rows] for code, rows in told.items()
        }
        return {what: kept, "next_page_token": found.get("next_page_token")}


def _figures(row: Any) -> dict[str, Any] | None:
    """What is read of a row, and nothing of all else that it may hold."""
    if not isinstance(row, dict):
        return None
    return {name: row[name] for name in READ if name in row and _is_short(row[name])}


def _is_short(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= LONGEST)


class _Stocks(_Paged, StockHistoricalDataClient):
    pass


class _Coins(_Paged, CryptoHistoricalDataClient):
    pass


def stocks(client: Client) -> StockHistoricalDataClient:
    """Who asks for what is known of stocks, as the venue words it.

    Its calls raise as `Client.get` does, and `Transient` where there is nothing to be seen.
    """
    return _Stocks(client.key.key_id, client.key.secret, raw_data=True).through(client, "v2")


def coins(client: Client) -> CryptoHistoricalDataClient:
    """The same of coins."""
    return _Coins(client.key.key_id, client.key.secret, raw_data=True).through(client, "v1beta3")
