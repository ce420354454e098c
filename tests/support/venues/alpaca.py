"""A stand-in of Alpaca on loopback: its bars and trades, page by page and for its key only, with its limit."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from tests.support.venues.alpaca_stream import KEY_ID, SECRET, Row, Stream, told
from tests.support.venues.server import Answer, Server

A_MINUTE = 200
PATHS = {
    "/v2/stocks/bars": False,
    "/v1beta3/crypto/us/bars": True,
    "/v2/stocks/trades": False,
    "/v1beta3/crypto/us/trades": True,
}
QUOTES = ("/v2/stocks/quotes/latest", "/v1beta3/crypto/us/latest/quotes")


class StandIn(Server):
    """The venue: bars by symbol and by its names of timeframes, at most `page` of them in one answer."""

    def __init__(
        self,
        bars: dict[tuple[str, str], Sequence[Row]],
        trades: dict[str, Sequence[dict[str, Any]]] | None = None,
        *,
        page: int = 10_000,
        limit: int = A_MINUTE,
    ) -> None:
        super().__init__()
        self.bars = {key: sorted(rows) for key, rows in bars.items()}
        self.trades = {code: sorted(rows, key=lambda row: row["t"]) for code, rows in (trades or {}).items()}
        self.page, self.limit, self.n_asked = page, limit, 0
        self.queries: list[dict[str, str]] = []
        self.stream = Stream()

    def refused(self, path: str) -> Answer | None:
        self.n_asked = self.count()
        too_many = HTTPStatus.TOO_MANY_REQUESTS, {"message": "too many requests."}
        return too_many if self.n_asked > self.limit else None

    def limits(self, status: int) -> dict[str, str]:
        told = {
            "limit": self.limit,
            "remaining": max(0, self.limit - self.n_asked),
            "reset": (int(time.time()) // 60 + 1) * 60,
        }
        return {f"x-ratelimit-{name}": f"{value}" for name, value in told.items()}

    def route(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if (headers.get("apca-api-key-id"), headers.get("apca-api-secret-key")) != (KEY_ID, SECRET):
            return HTTPStatus.FORBIDDEN, {"message": "forbidden."}
        if path in QUOTES:
            told_last = {code: row for code, row in self.stream.quotes.items() if code == query["symbols"]}
            return HTTPStatus.OK, {"quotes": told_last}
        if path not in PATHS or ("/" in query["symbols"]) != PATHS[path]:
            return HTTPStatus.NOT_FOUND, {"message": "endpoint not found."}
        self.queries.append(query)
        if not PATHS[path] and query["symbols"] not in {symbol for symbol, _ in self.bars} | {*self.trades}:
            return HTTPStatus.BAD_REQUEST, {"message": f"invalid symbol: {query['symbols']}"}
        first, last = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
        if path.endswith("/trades"):
            trades = self.trades.get(query["symbols"], [])
            return HTTPStatus.OK, self._page("trades", query, _within(trades, first, last, _traded_at))
        rows = _within(self.bars.get((query["symbols"], query["timeframe"]), []), first, last, lambda row: row[0])
        return HTTPStatus.OK, self._page("bars", query, [told(row) for row in rows])

    def _page(self, what: str, query: dict[str, str], found: list[dict[str, Any]]) -> dict[str, Any]:
        begin = int(query.get("page_token", "0"))
        end = begin + min(self.page, int(query.get("limit", "1000")))
        token = str(end) if end < len(found) else None
        return {what: {query["symbols"]: found[begin:end]} if found else {}, "next_page_token": token}


def _within(rows: Sequence[Any], first: datetime, last: datetime, at: Callable[[Any], datetime]) -> list[Any]:
    """The rows of [first, last]."""
    return list(rows[bisect_left(rows, first, key=at) : bisect_right(rows, last, key=at)])


def _traded_at(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["t"])
