"""A stand-in of Binance on loopback, as ccxt asks it: its pairs, its clock, bars and trades from a moment on."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from tests.support.venues.server import Answer, Server
from tests.support.venues.tape import Tape, Trade

Row = tuple[datetime, float, float, float, float, float]  # the beginning of a bar, and its figures
API = "/api/v3"
_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


class StandIn(Server):
    """The exchange: bars by pair and length, at most 1,000 of them in one answer."""

    def __init__(
        self,
        bars: dict[tuple[str, str, str], Sequence[Row]],
        trades: dict[tuple[str, str], Tape] | None = None,
        *,
        skew_s: float = 0.0,
        page: int = 500,
    ) -> None:
        super().__init__()
        self.tapes = {f"{base}{quote}": tape for (base, quote), tape in (trades or {}).items()}
        self.page = page
        self.bars = {(f"{base}{quote}", length): sorted(rows) for (base, quote, length), rows in bars.items()}
        self.pairs = [_pair(base, quote) for base, quote in sorted({key[:2] for key in bars} | {*(trades or {})})]
        self.skew = timedelta(seconds=skew_s)
        self.depths: dict[str, dict[str, list[tuple[str, str]]]] = {}  # bids and asks by pair

    def route(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        match path.removeprefix(API):
            case "/exchangeInfo":
                return HTTPStatus.OK, {"timezone": "UTC", "symbols": self.pairs}
            case "/time":
                return HTTPStatus.OK, {"serverTime": _ms(datetime.now(UTC) + self.skew)}
            case "/depth":
                empty: dict[str, list[tuple[str, str]]] = {"bids": [], "asks": []}
                return HTTPStatus.OK, {"lastUpdateId": 1, **self.depths.get(query["symbol"], empty)}
            case "/klines":
                rows = self.bars.get((query["symbol"], query["interval"]), [])
                first = bisect_left(rows, int(query["startTime"]), key=lambda row: _ms(row[0]))
                return HTTPStatus.OK, [told(row) for row in rows[first : first + int(query["limit"])]]
            case "/aggTrades":
                since, until = (_EPOCH + int(query[name]) * _MS for name in ("startTime", "endTime"))
                found = self.tapes[query["symbol"]].between(since, until + _MS)
                return HTTPStatus.OK, [trade_row(one) for one in found[: self.page]]
        return HTTPStatus.NOT_FOUND, {"code": -1, "msg": "unknown route"}


def told(row: Row) -> list[Any]:
    """A bar as the exchange writes it."""
    start, *figures = row
    return [_ms(start), *(f"{each:.8f}" for each in figures), _ms(start) + 59_999, "0", 1, "0", "0", "0"]


def trade_row(one: Trade) -> dict[str, Any]:
    """A trade as the exchange writes it."""
    figures = {"a": one.number, "p": one.price, "q": one.quantity, "f": one.number, "l": one.number}
    return {**figures, "T": _ms(one.at), "m": one.side == "sell", "M": True}


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)


def _pair(base: str, quote: str) -> dict[str, Any]:
    return {
        "symbol": f"{base}{quote}",
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "isSpotTradingAllowed": True,
        "permissions": ["SPOT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
            {"filterType": "NOTIONAL", "minNotional": "5"},
        ],
    }
