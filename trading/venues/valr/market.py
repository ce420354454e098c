"""VALR's market data over REST, in our words: pairs, the clock, order books, bars, trades."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Self

from loguru import logger

from helios.env import Env
from helios.errors import UNREAD, Transient, error_text
from trading.market.bars import FIELDS, BarTable, BarValues
from trading.market.lots import Lot
from trading.market.timeframes import seconds
from trading.market.timestamps import begun
from trading.market.trades import Trades
from trading.venues.answers import SIDES, Answers, TradeRow, bars_of, between, shown, trades_of
from trading.venues.base import Pair
from trading.venues.rest import ClientMarket, ahead_s
from trading.venues.streaming import Depth
from trading.venues.valr.client import Client
from trading.venues.valr.order_books import aggregated

VENUE: Final = "VALR"
BUCKETS: Final = 300  # at most in one answer
TRADES: Final = 100
PAGES: Final = 20_000  # of one question after trades; a day has less
MINUTE_S: Final = 60
MOST_PLACES: Final = Decimal(18)
_ANSWERS: Final = Answers(VENUE)
number = _ANSWERS.number
_MILLISECOND: Final = timedelta(milliseconds=1)
_CODE: Final = re.compile(r"[A-Z0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Market(ClientMarket):
    """VALR as a source of bars and of trades; see `trading.venues.base.MarketData`."""

    client: Client
    name: str = VENUE
    settled_s: float = 600.0

    @classmethod
    def of(cls, env: Env) -> Self:
        """As this installation is set up."""
        return cls(Client.of(env))

    def source(self, pair: Pair) -> str:  # noqa: ARG002 - all of them have one
        return "valr:buckets"

    def symbol(self, name: str) -> str:
        return f"{VENUE}:{name.replace('/', '-')}"

    def pairs(self, wanted: Sequence[str]) -> dict[str, Pair]:  # noqa: ARG002 - it tells all of them at once
        found, faults = dict[str, Pair](), list[Transient]()
        for row in _ANSWERS.rows(self.client.get("/v1/public/pairs"), "pairs"):
            try:
                pair = _pair(row)
            except Transient as error:
                faults.append(error)
                continue
            if pair is not None:
                found[pair.symbol] = pair
        if faults and not found:
            raise faults[0]
        if faults:  # what cannot be read of one is no reason to have none
            logger.bind(first=error_text(faults[0]), n=len(faults)).warning("valr.pairs_left_out")
        return found

    def skew_s(self) -> float:
        return ahead_s(lambda: _ANSWERS.time(_ANSWERS.field(self.client.get("/v1/public/time"), "time", "the time")))

    def depth(self, pair: Pair) -> Depth:
        found = self.client.get(f"/v1/public/{pair.code}/orderbook")
        try:
            return aggregated(pair.code, found)
        except UNREAD as error:
            raise Transient(f"VALR must answer with the order book of {pair.code}, was {shown(found)!r}") from error

    def bars(
        self, pair: Pair, timeframe: str, after: datetime, until: datetime
    ) -> Iterator[tuple[BarTable, datetime | None]]:
        length_s = seconds(timeframe)
        start = begun(after, timedelta(seconds=length_s))
        while start < until:
            end = min(start + BUCKETS * timedelta(seconds=length_s), until)
            asked: dict[str, str | int] = {"periodSeconds": length_s, "limit": BUCKETS, "includeEmpty": "true"}
            span = {"startTime": int(start.timestamp()), "endTime": int(end.timestamp())}
            told = _ANSWERS.rows(self.client.get(f"/v1/public/{pair.code}/buckets", asked | span), "buckets")
            rows = [bucket(row, pair.code, length_s) for row in told]
            _ANSWERS.come(close for close, _ in rows)
            traded = [(close, *figures) for close, figures in rows if figures is not None]
            newest = max((close for close, _ in rows if after < close <= end), default=None)
            yield between(bars_of(pair.symbol, timeframe, traded), after, end), newest
            start = after = end

    def trades(self, pair: Pair, after: datetime, until: datetime) -> Iterator[Trades]:
        """Its pages go back in time, each before the last trade of the one before, so all of them come as one table."""
        told, known = list[TradeRow](), set[str]()  # the ids that pages went on behind
        span = {"startTime": _written(after - _MILLISECOND), "endTime": _written(until)}
        asked: dict[str, str | int] = {"limit": TRADES, **span}
        while page := self._trades(pair, asked):
            told += page
            *_, last = page[-1]
            if last in known or len(known) == PAGES:
                raise Transient(f"VALR must end its pages of trades of {pair.code}, went on after {len(known) + 1}")
            if max(row[0] for row in page) < after:
                break
            known.add(last)
            asked["beforeId"] = last
        yield trades_of(pair.symbol, told[::-1], after, until)

    def _trades(self, pair: Pair, asked: Mapping[str, str | int]) -> list[TradeRow]:
        found = self.client.get(f"/v1/public/{pair.code}/trades", asked)
        rows = _ANSWERS.rows(found, "trades")
        if len(rows) > TRADES:
            raise Transient(f"VALR must answer with {TRADES} trades at most, was {len(rows)}")
        return [_trade(row, pair.code) for row in rows]

    def reaches(self, pair: Pair, timeframe: str, moment: datetime) -> bool:  # noqa: ARG002 - it speaks of each bar
        return True


def bucket(row: Mapping[str, Any], code: str, length_s: int = MINUTE_S) -> tuple[datetime, BarValues | None]:
    """The close of a venue's bar, and its figures; None of them where nobody traded.

    Raises: `Transient` where it is of another pair or length, or unread.
    """
    named, period = (
        _ANSWERS.field(row, "currencyPairSymbol", "a bucket"),
        _ANSWERS.field(row, "bucketPeriodInSeconds", "a bucket"),
    )
    if named != code or period != length_s:
        other = f"{shown(named)} of {shown(period)} s"
        raise Transient(f"VALR must answer with bars of {code} of {length_s} s, was one of {other}")
    open_, high, low, close, volume = (_ANSWERS.loose(row, name) for name in FIELDS)
    at = _ANSWERS.time(_ANSWERS.field(row, "startTime", "a bucket")) + timedelta(seconds=length_s)
    return at, None if volume == 0 else (open_, high, low, close, volume)


def _trade(row: Mapping[str, Any], code: str) -> TradeRow:
    named, side = _ANSWERS.field(row, "currencyPair", "a trade"), _ANSWERS.field(row, "takerSide", "a trade")
    if named != code:
        raise Transient(f"VALR must answer with trades of {code}, was one of {shown(named)}")
    if shown(side) not in SIDES:
        raise Transient(f"VALR must tell takerSide as {' or '.join(SIDES)}, was {shown(side)!r}")
    price, quantity = _ANSWERS.loose(row, "price"), _ANSWERS.loose(row, "quantity")
    return (
        _ANSWERS.time(_ANSWERS.field(row, "tradedAt", "a trade")),
        price,
        quantity,
        SIDES[side],
        _ANSWERS.named(row, "id"),
    )


def _written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def _pair(row: Mapping[str, Any]) -> Pair | None:
    if row.get("currencyPairType", "SPOT") != "SPOT":
        return None
    base, quote, code = (_code(row, name) for name in ("baseCurrency", "quoteCurrency", "symbol"))
    places = _ANSWERS.decimal(row, "baseDecimalPlaces", most=MOST_PLACES)
    return Pair(
        code=code,
        symbol=f"{VENUE}:{base}-{quote}",
        lot=Lot(
            quantity_step=Decimal(1).scaleb(-int(places)),
            price_tick=_ANSWERS.decimal(row, "tickSize", least=Decimal(1).scaleb(-int(MOST_PLACES))),
            min_notional=_ANSWERS.decimal(row, "minQuoteAmount"),
        ),
    )


def _code(row: Mapping[str, Any], name: str) -> str:
    value = _ANSWERS.field(row, name, "a pair")
    if not isinstance(value, str) or not _CODE.fullmatch(value):
        raise Transient(f"VALR must tell {name} in capitals and digits, was {shown(value)!r}")
    return value
