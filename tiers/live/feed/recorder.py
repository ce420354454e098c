"""A stream's closed minutes on their way into the market table, by COPY: bars, those above them, and what is behind."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Final, cast

import numpy as np
from django.db import transaction
from loguru import logger

from helios import events
from helios.breakers import breaker
from helios.db import statements
from helios.db.failures import UNAVAILABLE
from helios.events.bus import Event
from tiers.contracts import ALWAYS_OPEN, calendar
from tiers.ingest.bar_problems import Problem
from tiers.ingest.minutes import Closed, DueBar, sane
from tiers.ingest.validate import keep_the_rules, validate
from tiers.live.feed.depth import BookSnapshot
from trading.enums import Timeframe
from trading.events import MarketEvent, TickerEvent
from trading.market import write as market
from trading.market.bars import FIELDS, Bars, BarValues, bar_table, gridded, union
from trading.market.coverage import cover
from trading.market.order_book_write import store_books
from trading.market.read import of_minutes
from trading.market.timeframes import seconds
from trading.market.timestamps import SECOND, moment
from trading.market.trade_write import store_trades
from trading.venues.streaming import Ticker

DATABASE = "postgres_db"
TELL_S: Final = 60.0
MANY_S, MANY = 3_600.0, 1_000_000  # trades of a symbol in an hour that no market has as a rule
TRADE_BYTES: Final = 130  # that one takes in its table, with what finds it
_COUNTED: Final[dict[str, tuple[float, int]]] = {}  # since when, by the monotonic clock, so many trades of a symbol
_WARNED: Final[dict[str, float]] = {}  # when the bad bars of a symbol were last told, by the monotonic clock
_Rows = dict[tuple[str, str], dict[int, BarValues]]  # by symbol and timeframe, and by close


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMinute:
    """What became known of a symbol: a minute, the higher bars that it completes, and up to where all is known."""

    closed: Closed
    higher: list[DueBar]
    until: int


def write(told: Sequence[KnownMinute], source: str) -> list[Event]:
    """Store minutes, all or nothing; `write_known` belongs behind it. Returns what the event bus is to tell of them.

    Its commit does not wait for the disk. That of `write_known` does, and keeps all that was committed before it.
    """
    rows: _Rows = defaultdict(dict)
    for one in told:
        if one.closed.row is not None:
            rows[one.closed.symbol, Timeframe.M1.value][one.closed.close] = one.closed.row
    with breaker(DATABASE, record_if=_is_outage), transaction.atomic():
        statements.fetch(f"SELECT {statements.REPEATABLE}", [])
        market.upsert_bars(_batches(rows), source)
    return _events(rows)


def write_known(told: Sequence[KnownMinute], source: str) -> list[Event]:
    """Store the bars above minutes that are stored, and how far each symbol is known; all or nothing.

    A higher bar is made of the minutes that are stored, whoever has corrected one of them. Whoever ends before is
    followed by a process that asks for the minutes anew, and makes these bars of them. Returns as `write`.
    """
    until = {one.closed.symbol: one.until for one in told}
    with breaker(DATABASE, record_if=_is_outage), transaction.atomic():
        market.lock_symbols(until)
        higher = _higher(told)
        market.upsert_bars(_batches(higher), source)
        cover(until)
    return _events(higher)


def write_trades_and_books(further: Sequence[Closed | BookSnapshot]) -> None:
    """Store the trades of minutes, and order books; all or nothing."""
    with breaker(DATABASE, record_if=_is_outage), transaction.atomic():
        _write_trades([one for one in further if isinstance(one, Closed)])
        books = (one for one in further if isinstance(one, BookSnapshot))
        store_books([(one.symbol, one.ts, one.sequence, one.bids, one.asks) for one in books])
    counted = Counter[str]()
    for one in further:
        if isinstance(one, Closed):
            counted[one.symbol] += len(one.trades)
    tell_many(counted)


def _events(rows: _Rows) -> list[Event]:
    return [
        bar_event(symbol, timeframe, close, row)
        for (symbol, timeframe), closes in rows.items()
        for close, row in closes.items()
        if sane(row)
    ]


def bar_event(symbol: str, timeframe: str, close: int, row: BarValues) -> Event:
    """The event of one bar."""
    return MarketEvent(symbol=symbol, timeframe=timeframe, bar_ts=moment(close), **dict(zip(FIELDS, row, strict=True)))


def ticker_event(symbol: str, told: Ticker) -> Event:
    """The event of a market's summary."""
    figures = {name: value for name, value in asdict(told).items() if name not in {"code", "at"}}
    return TickerEvent(symbol=symbol, at=moment(told.at), **figures)


def _higher(told: Sequence[KnownMinute]) -> _Rows:
    """The bars that are due, of the minutes that are stored; none while one of these is still to come."""
    due = {(one.closed.symbol, bar.timeframe, bar.close): bar.n for one in told for bar in one.higher}
    found: _Rows = defaultdict(dict)
    if not due:
        return found
    wanted = [(symbol, close // SECOND, seconds(timeframe)) for symbol, timeframe, close in due]
    for (symbol, timeframe, close), (n, *row) in zip(due, of_minutes(wanted), strict=True):
        if n >= due[symbol, timeframe, close]:
            found[symbol, timeframe][close] = cast("BarValues", tuple(row))
    return found


def _batches(rows: _Rows) -> list[Bars]:
    of_timeframes: dict[str, dict[str, dict[int, BarValues]]] = defaultdict(dict)
    for (symbol, timeframe), found in rows.items():
        of_timeframes[timeframe][symbol] = found
    return [_judged(timeframe, found) for timeframe, found in of_timeframes.items()]


def _judged(timeframe: str, found: dict[str, dict[int, BarValues]]) -> Bars:
    """The bars of one timeframe, by symbol and close, that keep every rule; the others are told.

    All are judged at once: hundreds of tables of their own would take several times as long.
    """
    symbols, hours = tuple(found), calendar(ALWAYS_OPEN)
    bars = [(number, *bar) for number, own in enumerate(found.values()) for bar in sorted(own.items())]
    numbers, closes, values = zip(*bars, strict=True)
    ts, column, fields = np.array(closes, "datetime64[us]"), np.array(numbers), np.array(values, float).T
    whole = bar_table(symbols[0], timeframe, ts, [*fields])
    if keep_the_rules(whole, column, hours):
        return gridded(symbols, timeframe, ts, column, dict(zip(FIELDS, fields, strict=True)))
    tables = (replace(whole.take(column == number), symbol=symbol) for number, symbol in enumerate(symbols))
    judged = [validate(table, hours) for table in tables]
    tell_bad([each for one in judged for each in one.rejected])
    return union([one.table for one in judged if one.table.n_rows], timeframe)


def tell_bad(problems: Sequence[Problem]) -> None:
    """Say which bars of a venue no market has; of a symbol once a minute at most."""
    now = time.monotonic()
    for symbol in {each.symbol for each in problems}:
        of_it = [str(each) for each in problems if each.symbol == symbol]
        if now - _WARNED.get(symbol, -inf) < TELL_S:
            continue
        _WARNED[symbol] = now
        data = {"problem": of_it[0], "n": len(of_it)}
        logger.bind(symbol=symbol, **data).warning("feed.bad_bar")
        events.record(kind="feed.bad_bar", severity="warning", source="tiers.feed", subject=symbol, data=data)


def tell_many(counted: Mapping[str, int]) -> None:
    """Say whose trades fill the disk; of a symbol once an hour at most."""
    now = time.monotonic()
    for symbol, more in counted.items():
        since, before = _COUNTED.get(symbol, (now, 0))
        if now - since > MANY_S:
            since, before = now, 0
        n = before + more
        if before < MANY <= n:
            a_day = n * TRADE_BYTES * 86_400 / max(now - since, TELL_S)
            since = now  # the next hour begins
            data = {"n": n, "gb_a_day": round(a_day / 1e9, 1)}
            logger.bind(symbol=symbol, **data).warning("feed.many_trades")
            events.record(kind="feed.many_trades", severity="warning", source="tiers.feed", subject=symbol, data=data)
        _COUNTED[symbol] = since, n


def _write_trades(closed: Sequence[Closed]) -> None:
    store_trades(
        [
            (one.symbol, at, trade_id, side, price, quantity)
            for one in closed
            for at, price, quantity, side, trade_id in one.trades
            if price > 0 and quantity > 0
        ]
    )


def _is_outage(error: Exception) -> bool:
    """Whether the database is at fault, and not what it was to store."""
    return isinstance(error, UNAVAILABLE)
