"""A stream's closed minutes on their way into the market table, by COPY: bars, those above them, and what is behind."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
from trading.market.bars import FIELDS, Bars, BarTable, BarValues, union
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
_COVER: Final = """
INSERT INTO feed_coverage AS known (symbol, until, updated_at)
SELECT *, now() FROM unnest(%s::text[], %s::timestamptz[])
ON CONFLICT (symbol) DO UPDATE SET until = greatest(known.until, excluded.until), updated_at = now() RETURNING 1
"""
_Rows = dict[tuple[str, str], dict[int, BarValues]]  # by symbol and timeframe, and by close


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMinute:
    """What became known of a symbol: a minute, the higher bars that it completes, and up to where all is known."""

    closed: Closed
    higher: list[DueBar]
    until: int


def write(told: Sequence[KnownMinute], source: str) -> list[Event]:
    """Store minutes, all or nothing; `write_known` belongs behind it. Returns what the event bus is to tell of them."""
    rows: _Rows = defaultdict(dict)
    for one in told:
        if one.closed.row is not None:
            rows[one.closed.symbol, Timeframe.M1.value][one.closed.close] = one.closed.row
    with breaker(DATABASE, record_if=_is_outage), transaction.atomic():
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
    tell_many(Counter(one.symbol for one in further if isinstance(one, Closed) for _ in one.trades))


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


def cover(until: dict[str, int]) -> None:
    """Note that all minutes of these symbols are known up to these moments; what is known once stays so."""
    symbols = sorted(until)
    statements.fetch(_COVER, [symbols, [moment(until[symbol]) for symbol in symbols]])


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
    of_timeframes: dict[str, _Rows] = defaultdict(dict)
    for key, found in rows.items():
        of_timeframes[key[1]][key] = found
    judged = (_judged(_tables(found, timeframe)) for timeframe, found in of_timeframes.items())
    return [union(good, good[0].timeframe) for good in judged if good]


def _tables(rows: _Rows, timeframe: str) -> list[BarTable]:
    """The bars of one timeframe by symbol, parts of the same arrays: hundreds of their own would take twice as long."""
    closes = [sorted(found) for found in rows.values()]
    ts = np.array([close for own in closes for close in own], "datetime64[us]")
    values = np.array([found[close] for found, own in zip(rows.values(), closes, strict=True) for close in own], float)
    number, ends = np.arange(1, len(ts) + 1), np.cumsum([len(own) for own in closes]).tolist()
    tables = []
    for (symbol, _), own, end in zip(rows, closes, ends, strict=True):
        part = slice(end - len(own), end)
        fields = dict(zip(FIELDS, values[part].T, strict=True))
        tables.append(BarTable(symbol=symbol, timeframe=timeframe, ts=ts[part], row=number[part], **fields))
    return tables


def _judged(tables: list[BarTable]) -> list[BarTable]:
    """The bars that keep every rule; the others are told."""
    hours = calendar(ALWAYS_OPEN)
    if not tables or keep_the_rules(tables, hours):
        return tables
    found = [validate(table, hours) for table in tables]
    tell_bad([each for one in found for each in one.rejected])
    return [one.table for one in found if one.table.n_rows]


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
