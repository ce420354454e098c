"""Market data of any exchange that ccxt knows, in our words: pairs of the spot market, clock, bars, trades, books."""

from __future__ import annotations

import contextlib
import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self

import ccxt

from helios.entries import quoted
from helios.errors import DataError, Rejected, Transient
from trading import symbols
from trading.market.bars import FIELDS, BarTable
from trading.market.lots import Lot
from trading.market.order_book import Offer
from trading.market.timeframes import seconds
from trading.market.timestamps import begun, microseconds, moment
from trading.market.trades import Trades
from trading.venues.answers import SIDES, Answers, BarRow, TradeRow, bars_of, between, shown, trades_of
from trading.venues.base import Pair
from trading.venues.ccxt.client import Client
from trading.venues.rest import ClientMarket, ahead_s
from trading.venues.streaming import YEARS, Depth

USUAL_LIMIT: Final = 300  # bars in one answer, where ccxt does not know
SILENT: Final = timedelta(hours=1)  # some tell no trades of more than this at once
FEWEST: Final = 50  # trades that one answer of any exchange can hold
DAY: Final = timedelta(days=1)
MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Market(ClientMarket):
    """An exchange as a source of bars and of trades; see `trading.venues.base.MarketData`."""

    client: Client
    settled_s: float = 600.0

    @classmethod
    def of(cls, exchange: str) -> Self:
        """The exchange that ccxt calls so, at its public routes. Raises: DataError."""
        if exchange not in ccxt.exchanges:
            near = difflib.get_close_matches(exchange, ccxt.exchanges, n=3)
            hint = f"; near it are {', '.join(near)}" if near else ""
            raise DataError(f"--exchange must be valr, alpaca or one of ccxt's, was {quoted(exchange)}{hint}")
        made = getattr(ccxt, exchange)()
        if made.has.get("fetchOHLCV") is not True or "1m" not in (made.timeframes or {}):
            raise DataError(f"{exchange} tells no bars of a minute, as ccxt knows it")
        of_markets = made.options.get("fetchMarkets")
        if isinstance(of_markets, dict) and "spot" in _listed(of_markets.get("types")):
            of_markets["types"] = ["spot"]  # its other markets have other servers
        return cls(Client(made))

    @property
    def name(self) -> str:
        return self.client.name

    def source(self, pair: Pair) -> str:  # noqa: ARG002 - all of them have one
        return f"ccxt:{self.client.exchange.id}"

    def symbol(self, name: str) -> str:
        return f"{self.name}:{name.replace('-', '/')}"

    def pairs(self, wanted: Sequence[str]) -> dict[str, Pair]:  # noqa: ARG002 - it tells all of them at once
        found = self.client.ask(self.client.exchange.load_markets)
        if not isinstance(found, dict):
            raise Transient(f"{self.name} must tell its markets, was {shown(found)!r}")
        offered = [_pair(self.name, row, self.client.exchange) for row in found.values()]
        return {pair.symbol: pair for pair in offered if pair is not None}

    def skew_s(self) -> float | None:
        if self.client.exchange.has.get("fetchTime") is not True:
            return None
        return ahead_s(lambda: self._moment(self.client.ask(self.client.exchange.fetch_time)))

    def depth(self, pair: Pair) -> Depth:
        found, now = self.client.ask(self.client.exchange.fetch_order_book, pair.code), datetime.now(UTC)
        told = Answers(self.name)
        bids, asks = (
            [_offer(told, level) for level in told.field(found, side, "an order book")] for side in ("bids", "asks")
        )
        at = microseconds(now if found.get("timestamp") is None else self._moment(found["timestamp"]))
        return Depth(pair.code, at, sequence=at, bids=bids, asks=asks, whole=True)

    def bars(
        self, pair: Pair, timeframe: str, after: datetime, until: datetime
    ) -> Iterator[tuple[BarTable, datetime | None]]:
        exchange, length = self.client.exchange, timedelta(seconds=seconds(timeframe))
        if timeframe not in exchange.timeframes:
            raise DataError(f"{self.name} has no bars of {timeframe}")
        limit, start = self._limit(pair), begun(after, length)
        while start < until:
            since = _milliseconds(start)
            found = self.client.ask(exchange.fetch_ohlcv, pair.code, timeframe, since, limit)
            rows = [row for each in self._rows(found) if (row := self._bar(each, length))[0] > start]
            closes = [row[0] for row in rows]
            Answers(self.name).come(closes)
            # some begin at the next bar that there is, others tell of this time only, which then has none
            end = max(closes, default=start + limit * length)
            traded = [row for row in rows if row[-1] != 0]
            yield (
                between(bars_of(pair.symbol, timeframe, traded), after, until),
                max((close for close in closes if close <= until), default=None),
            )
            start = end

    def trades(self, pair: Pair, after: datetime, until: datetime) -> Iterator[Trades]:
        """Each page begins at the moment of the last trade before, whose other trades it may not have told yet."""
        exchange, most, told = self.client.exchange, FEWEST, Counter[TradeRow]()
        if exchange.has.get("fetchTrades") is not True:
            raise DataError(f"{self.name} has no trades, as ccxt knows it")
        start = after
        while start < until:
            since = _milliseconds(start) - 1  # some take it for the last moment that is not asked for
            found = Answers(self.name).rows(self.client.ask(exchange.fetch_trades, pair.code, since), "trades")
            rows = [self._trade(row, pair) for row in found]
            newest = max((row[0] for row in rows), default=start)
            if newest <= start and len(rows) >= most:
                raise Transient(f"{self.name} must tell what follows {start.isoformat()}, was {len(rows)} trades of it")
            fresh = sorted((Counter(rows) - told).elements(), key=lambda row: row[0])
            yield trades_of(pair.symbol, fresh, after, until)
            told = Counter(row for row in rows if row[0] >= newest - MILLISECOND)
            most, start = max(most, len(rows)), newest if newest > start else start + SILENT

    def _trade(self, row: Mapping[str, Any], pair: Pair) -> TradeRow:
        told, side = Answers(self.name), row.get("side")
        if row.get("symbol") != pair.code:
            raise Transient(
                f"{self.name} must answer with trades of {pair.code}, was one of {shown(row.get('symbol'))}"
            )
        name = "" if row.get("id") is None else told.named(row, "id")
        price, quantity = told.loose(row, "price"), told.loose(row, "amount")
        return self._moment(row.get("timestamp")), price, quantity, SIDES.get(str(side), ""), name

    def reaches(self, pair: Pair, timeframe: str, moment: datetime) -> bool:
        length, limit = timedelta(seconds=seconds(timeframe)), self._limit(pair)
        since = _milliseconds(moment - limit * length)
        try:
            found = self.client.ask(self.client.exchange.fetch_ohlcv, pair.code, timeframe, since, limit)
        except Rejected:  # as where that is too long ago
            return False
        return any(self._moment(row[0]) + length <= moment for row in self._rows(found))

    def _limit(self, pair: Pair) -> int:
        """How many bars it tells in one answer."""
        return self.client.exchange.feature_value(pair.code, "fetchOHLCV", "limit", USUAL_LIMIT) or USUAL_LIMIT

    def _rows(self, found: Any) -> list[Sequence[Any]]:
        if not isinstance(found, list) or not all(isinstance(row, list) and len(row) >= 6 for row in found):
            raise Transient(f"{self.name} must answer with a list of bars, was {shown(found)!r}")
        return found

    def _bar(self, row: Sequence[Any], length: timedelta) -> BarRow:
        told = Answers(self.name)
        start = self._moment(row[0])
        if (start - moment(0)) % min(length, DAY):
            raise Transient(f"{self.name} must tell bars by their beginnings, was {start.isoformat()}")
        figures = dict(zip(FIELDS, row[1:6], strict=True))
        open_, high, low, close, volume = (told.loose(figures, name) for name in FIELDS)
        return start + length, open_, high, low, close, volume

    def _moment(self, milliseconds: Any) -> datetime:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            found = moment(0) + timedelta(milliseconds=milliseconds)
            if found.year in YEARS:
                return found
        raise Transient(f"{self.name} must tell times in milliseconds, was {shown(milliseconds)!r}")


def _milliseconds(at: datetime) -> int:
    return microseconds(at) // 1_000


def _offer(told: Answers, level: Any) -> Offer:
    if not isinstance(level, list) or len(level) < 2:
        raise Transient(f"{told.venue} must tell levels as a price and a quantity, was {shown(level)!r}")
    figures = dict(zip(("price", "quantity"), level, strict=False))
    price, quantity = (f"{told.decimal(figures, name):f}" for name in figures)
    return price, price, quantity


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _pair(venue: str, row: Mapping[str, Any], exchange: ccxt.Exchange) -> Pair | None:
    """A pair of the spot market that can be named as an instrument is."""
    code = f"{row.get('base')}/{row.get('quote')}"
    if row.get("spot") is not True or row.get("symbol") != code:
        return None
    try:
        symbol = symbols.check(f"{venue}:{code}")
    except DataError:
        return None
    return Pair(code=code, symbol=symbol, lot=_lot(row, exchange))


def _lot(row: Mapping[str, Any], exchange: ccxt.Exchange) -> Lot | None:
    """The steps in which the exchange trades it; None where it tells them as digits, or not at all."""
    if exchange.precisionMode != ccxt.TICK_SIZE:
        return None
    try:
        steps, least = row["precision"], (row["limits"].get("cost") or {}).get("min") or 0
        step, tick, notional = (Decimal(str(each)) for each in (steps["amount"], steps["price"], least))
        return Lot(quantity_step=step, price_tick=tick, min_notional=notional)
    except (KeyError, TypeError, AttributeError, InvalidOperation, DataError):
        return None
