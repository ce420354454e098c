"""Alpaca's market data over REST, in our words: bars, trades and quotes of stocks and coins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.requests import (
    CryptoBarsRequest,
    CryptoLatestQuoteRequest,
    CryptoTradesRequest,
    StockBarsRequest,
    StockLatestQuoteRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame

from helios.env import Env
from helios.errors import Transient
from trading.enums import AssetClass, Side, Timeframe
from trading.market.bars import BarTable
from trading.market.calendars import NEW_YORK, calendar
from trading.market.lots import USUAL_CALENDARS
from trading.market.order_book import Offer
from trading.market.timeframes import seconds
from trading.market.timestamps import microseconds
from trading.market.trades import Trades
from trading.venues.alpaca.client import MOST_ROWS, Client, coins, stocks
from trading.venues.answers import Answers, BarRow, TradeRow, bars_of, between, shown, trades_of
from trading.venues.base import Pair
from trading.venues.rest import ClientMarket
from trading.venues.streaming import Depth

VENUE: Final = "ALPACA"
TRADES_AT_ONCE: Final = timedelta(hours=1)
LENGTHS: Final = {Timeframe.M1.value: TimeFrame.Minute, Timeframe.D1.value: TimeFrame.Day}
EXAMPLES: Final = ("ALPACA:AAPL", "ALPACA:BTC/USD")
_ANSWERS: Final = Answers("Alpaca")
_STOCK: Final = re.compile(r"[A-Z]{1,6}(\.[A-Z]{1,3})?")
_COIN: Final = re.compile(r"[A-Z0-9]{1,10}/[A-Z]{2,6}")
SIDES: Final = {"B": Side.BUY.value, "S": Side.SELL.value, "": ""}  # of a stock it is not told
VOID: Final = ("canceled", "incorrect")  # what became of a trade that is none any more
FIELDS: Final = ("o", "h", "l", "c", "v")


@dataclass(frozen=True, slots=True)
class Market(ClientMarket):
    """Alpaca as a source; see `trading.venues.base.MarketData`. `feed` is the one of stocks: iex or sip."""

    client: Client
    feed: str = "iex"
    name: str = VENUE
    settled_s: float = 15.0  # it speaks of no minute without a trade

    @classmethod
    def of(cls, env: Env) -> Self:
        """As this installation is set up. Raises: `Rejected` where it has no key."""
        return cls(Client.of(env), env.alpaca_feed)

    def source(self, pair: Pair) -> str:
        return f"alpaca:{self.feed if pair.asset_class is AssetClass.EQUITY else 'us'}"

    def symbol(self, name: str) -> str:
        return f"{VENUE}:{name}"

    def pairs(self, wanted: Sequence[str]) -> dict[str, Pair]:
        """Those that are written as a stock or a pair of coins is; whether there is one the bars tell."""
        found = (_pair(symbol) for symbol in (*wanted, *EXAMPLES))
        return {pair.symbol: pair for pair in found if pair is not None}

    def skew_s(self) -> float | None:
        return None

    def depth(self, pair: Pair) -> Depth:
        if pair.asset_class is AssetClass.EQUITY:
            of_feed = StockLatestQuoteRequest(symbol_or_symbols=pair.code, feed=DataFeed(self.feed))
            found: Any = stocks(self.client).get_stock_latest_quote(of_feed)
        else:
            found = coins(self.client).get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols=pair.code))
        return quote(pair.code, _ANSWERS.field(found, pair.code, "the newest quote of each"))

    def bars(
        self, pair: Pair, timeframe: str, after: datetime, until: datetime
    ) -> Iterator[tuple[BarTable, datetime | None]]:
        length = timedelta(seconds=seconds(timeframe))
        while after < until:
            end = min(after + (MOST_ROWS - 1) * length, until)
            # a session begins less than a day before its close, at a midnight that is not ours
            begins = (after - length, end) if timeframe == Timeframe.D1 else (after, end - length)
            rows = [_bar(row, pair, timeframe) for row in self._rows(pair, timeframe, *begins)]
            _ANSWERS.come(row[0] for row in rows)
            traded = [row for row in rows if row[-1] != 0]
            newest = max((row[0] for row in rows if after < row[0] <= end), default=None)
            yield between(bars_of(pair.symbol, timeframe, traded), after, end), newest
            after = end

    def reaches(self, pair: Pair, timeframe: str, moment: datetime) -> bool:  # noqa: ARG002 - it keeps all that it has
        return True

    def _rows(self, pair: Pair, timeframe: str, first: datetime, last: datetime) -> list[Mapping[str, Any]]:
        """The venue's bars that begin in [first, last]."""
        asked = {"symbol_or_symbols": pair.code, "timeframe": LENGTHS[timeframe], "start": first, "end": last}
        if pair.asset_class is AssetClass.EQUITY:
            raw = {"feed": DataFeed(self.feed), "adjustment": Adjustment.RAW}
            return _of(pair, stocks(self.client).get_stock_bars(StockBarsRequest(**asked, **raw)), "bars")
        return _of(pair, coins(self.client).get_crypto_bars(CryptoBarsRequest(**asked)), "bars")

    def trades(self, pair: Pair, after: datetime, until: datetime) -> Iterator[Trades]:
        while after < until:
            end = min(after + TRADES_AT_ONCE, until)
            asked = {"symbol_or_symbols": pair.code, "start": after, "end": end}
            if pair.asset_class is AssetClass.EQUITY:
                of_feed = StockTradesRequest(**asked, feed=DataFeed(self.feed))
                found: Any = stocks(self.client).get_stock_trades(of_feed)
            else:
                found = coins(self.client).get_crypto_trades(CryptoTradesRequest(**asked))
            rows = [_trade(row) for row in _of(pair, found, "trades") if row.get("u") not in VOID]
            yield trades_of(pair.symbol, rows, after, end)
            after = end


def _of(pair: Pair, found: Any, what: str) -> list[Mapping[str, Any]]:
    others = [code for code in found if code != pair.code]
    if others:
        raise Transient(f"Alpaca must answer with {what} of {pair.code}, was one of {others[0]}")
    return _ANSWERS.rows(found.get(pair.code, []), what)


def trade_id(row: Mapping[str, Any]) -> str:
    """What tells a trade from all others of its symbol; a stock's number does so within its exchange and time only."""
    number, exchange = _ANSWERS.field(row, "i", "a trade"), row.get("x", "")
    name = f"{exchange}-{number}-{_ANSWERS.field(row, 't', 'a trade')}" if exchange else number
    return _ANSWERS.named({"i": name}, "i")


def _pair(symbol: str) -> Pair | None:
    code = symbol.removeprefix(f"{VENUE}:")
    if symbol != code and _STOCK.fullmatch(code):
        return Pair(code=code, symbol=symbol, asset_class=AssetClass.EQUITY)
    if symbol != code and _COIN.fullmatch(code):
        return Pair(code=code, symbol=symbol)
    return None


def _bar(row: Mapping[str, Any], pair: Pair, timeframe: str) -> BarRow:
    open_, high, low, close, volume = (_ANSWERS.loose(row, name) for name in FIELDS)
    return closed(_ANSWERS.time(_ANSWERS.field(row, "t", "a bar")), pair, timeframe), open_, high, low, close, volume


def quote(code: str, row: Any) -> Depth:
    """The best bid and the best ask. Raises: `Transient`."""
    at = microseconds(_ANSWERS.time(_ANSWERS.field(row, "t", "a quote")))
    bids, asks = _offers(row, "bp", "bs"), _offers(row, "ap", "as")
    return Depth(code, at, sequence=at, bids=bids, asks=asks, whole=True)


def _offers(row: Any, price: str, size: str) -> list[Offer]:
    """The best of one side; a price of 0 says that there is none."""
    at = _ANSWERS.decimal(row, price)
    return [(f"{at:f}", f"{at:f}", f"{_ANSWERS.decimal(row, size):f}")] if at else []


def _trade(row: Mapping[str, Any]) -> TradeRow:
    at, side = _ANSWERS.time(_ANSWERS.field(row, "t", "a trade")), row.get("tks", "")
    if shown(side) not in SIDES:
        raise Transient(f"Alpaca must tell tks as B or S, was {shown(side)!r}")
    return at, _ANSWERS.loose(row, "p"), _ANSWERS.loose(row, "s"), SIDES[side], trade_id(row)


def closed(start: datetime, pair: Pair, timeframe: str) -> datetime:
    """The close of the bar that the venue names by its beginning. Raises: `Transient` where none begins there."""
    if timeframe == Timeframe.D1:
        hours = calendar(USUAL_CALENDARS[pair.asset_class])
        local = start.astimezone(NEW_YORK) if hours.closes else start
        if local.hour or local.minute or local.second or local.microsecond:
            raise Transient(f"Alpaca must tell days of {pair.code} by their midnights, was {start.isoformat()}")
        return hours.named_day(local.date())
    if start.second or start.microsecond:
        raise Transient(f"Alpaca must tell minutes of {pair.code} by their beginnings, was {start.isoformat()}")
    return start + timedelta(seconds=seconds(timeframe))
