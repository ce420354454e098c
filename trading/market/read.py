"""Reads of market data: windows and ranges of bars by binary COPY."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import connection

from helios.db import statements
from helios.errors import DataError
from trading.enums import ActionKind
from trading.market import timeframes, wire
from trading.market.actions import Action, shares_since
from trading.market.bars import Bars
from trading.market.calendars import LONGEST_CLOSURE
from trading.market.inventory import Stored, inventory, known_symbols
from trading.models import MarketOHLC, MarketTrade

_BAR = "b.bar_ts, b.open, b.high, b.low, b.close, b.volume"
_WINDOW = f"""
SELECT (s.place - 1)::int4, {_BAR}
FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS s(symbol, place)
CROSS JOIN LATERAL (
    SELECT * FROM market_ohlc
    WHERE symbol = s.symbol AND timeframe = %(timeframe)s AND bar_ts <= %(end)s
    ORDER BY bar_ts DESC LIMIT %(n_bars)s
) b
"""  # noqa: S608 - the column list is a constant of this module
_RANGE = f"""
SELECT (s.place - 1)::int4, {_BAR}
FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS s(symbol, place)
JOIN market_ohlc b ON b.symbol = s.symbol
WHERE b.timeframe = %(timeframe)s AND b.bar_ts >= %(start)s AND b.bar_ts <= %(end)s
"""  # noqa: S608

_WITHIN = f"""
SELECT 0::int4, {_BAR}
FROM unnest(%(ends)s::timestamptz[]) AS span(last)
JOIN market_ohlc b ON b.symbol = ANY(%(symbols)s) AND b.timeframe = %(timeframe)s
    AND b.bar_ts > span.last - %(length)s AND b.bar_ts <= span.last
"""  # noqa: S608
_OF_MINUTES = """
SELECT made.*
FROM unnest(%s::text[], %s::int8[], %s::int[]) WITH ORDINALITY AS asked(symbol, close_s, length_s, place)
CROSS JOIN LATERAL (
    SELECT asked.symbol, to_timestamp(close_s) AS last, make_interval(secs => length_s) AS length
) w CROSS JOIN LATERAL (
    SELECT count(*), (array_agg(open ORDER BY bar_ts))[1], max(high), min(low),
        (array_agg(close ORDER BY bar_ts))[count(*)], sum(volume ORDER BY bar_ts)
    FROM market_ohlc WHERE symbol = w.symbol AND timeframe = '1m' AND bar_ts > w.last - w.length AND bar_ts <= w.last
) made ORDER BY asked.place
"""
_OF_ONE = "market_ohlc WHERE symbol = ANY(%(symbols)s) AND timeframe = %(timeframe)s"
_AROUND = f"""
SELECT 0::int4, {_BAR} FROM market_ohlc b WHERE b.symbol = ANY(%(symbols)s) AND b.timeframe = %(timeframe)s
    AND b.bar_ts >= least(%(first)s - %(reach)s, (SELECT max(bar_ts) FROM {_OF_ONE} AND bar_ts < %(first)s))
    AND b.bar_ts <= greatest(%(last)s + %(reach)s, (SELECT min(bar_ts) FROM {_OF_ONE} AND bar_ts > %(last)s))
"""  # noqa: S608
_ACTIONS = """
SELECT a.symbol, a.ex_ts, a.kind, a.value, a.per, before.close, before.bar_ts
FROM corporate_actions a LEFT JOIN LATERAL (
    SELECT close, bar_ts FROM market_ohlc WHERE symbol = a.symbol AND timeframe = %s AND bar_ts <= a.ex_ts
    ORDER BY bar_ts DESC LIMIT 1
) before ON true
WHERE a.symbol = ANY(%s) AND a.ex_ts < %s ORDER BY a.ex_ts, a.kind
"""
_NIGHTS = """
SELECT t.timeframe, action.ex_ts, before.close, after.open
FROM unnest(%s::timestamptz[]) AS action(ex_ts) CROSS JOIN (
    SELECT timeframe FROM unnest(%s::text[]) AS known(timeframe)
    WHERE EXISTS (SELECT FROM market_ohlc b WHERE b.symbol = %s AND b.timeframe = known.timeframe)
) t
CROSS JOIN LATERAL (
    SELECT bar_ts, close FROM market_ohlc WHERE symbol = %s AND timeframe = t.timeframe AND bar_ts <= action.ex_ts
    ORDER BY bar_ts DESC LIMIT 1
) before
LEFT JOIN LATERAL (
    SELECT bar_ts, open FROM market_ohlc WHERE symbol = %s AND timeframe = t.timeframe AND bar_ts > action.ex_ts
    ORDER BY bar_ts LIMIT 1
) after ON after.bar_ts - before.bar_ts <= %s
ORDER BY action.ex_ts
"""


def bar_window(
    symbols: Sequence[str], timeframe: str, end_ts: datetime, n_bars: int, *, at_least_one: bool = True
) -> Bars:
    """The last `n_bars` own bars of each symbol at or before `end_ts`, on their union timeline.

    Symbols keep their order; one that has no bar there yet is a column of NaN. `DataError` names what is
    stored when a symbol has no bar of this timeframe at all or, with `at_least_one`, when none has one there.
    """
    bars = plain_window(symbols, timeframe, end_ts, n_bars, at_least_one=at_least_one)
    return replace(bars, actions=actions(symbols, timeframe, end_ts))


def plain_window(symbols: Sequence[str], timeframe: str, end_ts: datetime, n_bars: int, *, at_least_one: bool) -> Bars:
    """The same as `bar_window` without actions, as for the bars before a range that has them."""
    if n_bars < 1:
        raise DataError(f"n_bars must be at least 1, was {n_bars}")
    bars = _read(_WINDOW, symbols, timeframe, {"end": end_ts, "n_bars": n_bars})
    _refuse_unknown(bars, at_least_one, None, end_ts)
    return bars


def bar_range(
    symbols: Sequence[str],
    timeframe: str,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    at_least_one: bool = True,
) -> Bars:
    """All bars whose closes lie in [start, end] on the union timeline; None leaves that side open.

    Missing symbols as in `bar_window`.
    """
    bounds = {"start": start or "-infinity", "end": end or "infinity"}
    bars = _read(_RANGE, symbols, timeframe, bounds)
    _refuse_unknown(bars, at_least_one, start, end)
    return replace(bars, actions=actions(symbols, timeframe, end))


def actions(symbols: Sequence[str], timeframe: str, end: datetime | None = None) -> tuple[Action, ...]:
    """All splits and dividends of these symbols before `end`, by time, with the closes of the timeframe before them.

    A dividend that is not less than that close comes without it, and adjusts nothing.
    """
    rows = statements.fetch(_ACTIONS, [timeframe, list(symbols), end or "infinity"])
    found: list[Action] = []
    for symbol, ex_ts, kind, value, per, close, since in rows:
        action = Action(symbol=symbol, ex_ts=ex_ts, kind=ActionKind(kind), value=value, per=per, close_before=close)
        if close is not None and not action.is_split:
            price = close / shares_since((each for each in found if each.symbol == symbol), since, ex_ts)
            action = replace(action, close_before=price if price > value else None)
        found.append(action)
    return tuple(found)


def bars_within(symbol: str, timeframe: str, ends: Sequence[datetime], length: timedelta) -> Bars:
    """The bars of one symbol whose closes lie in the spans of `length` up to each of `ends`; none is no error."""
    return _read(_WITHIN, [symbol], timeframe, {"ends": list(ends), "length": length})


def bars_around(symbol: str, timeframe: str, first: datetime, last: datetime, reach: timedelta) -> Bars:
    """The bars of one symbol from `reach` before `first` to `reach` behind `last`, or to the nearest beyond these."""
    return _read(_AROUND, [symbol], timeframe, {"first": first, "last": last, "reach": reach})


def nights(symbol: str, ex_times: Sequence[datetime]) -> list[tuple[str, datetime, float, float | None]]:
    """The last close up to each time and the first open behind it within a week, each with its timeframe and time."""
    return statements.fetch(_NIGHTS, [list(ex_times), [*timeframes.TIMEFRAMES], *[symbol] * 3, LONGEST_CLOSURE])


def of_minutes(wanted: Sequence[tuple[str, int, int]]) -> list[tuple[Any, ...]]:
    """The stored minutes of each symbol up to a close, in seconds since 1970, in so many seconds before it.

    Of each their number, and the bar that they make.
    """
    return statements.fetch(_OF_MINUTES, [list(each) for each in zip(*wanted, strict=True)]) if wanted else []


def next_bar_ts(symbols: Sequence[str], timeframe: str, after: datetime) -> datetime | None:
    """The earliest close later than `after` of any of the symbols, None when there is none."""
    statement = """
        SELECT min(first.bar_ts) FROM unnest(%s::text[]) AS s(symbol)
        CROSS JOIN LATERAL (
            SELECT bar_ts FROM market_ohlc
            WHERE symbol = s.symbol AND timeframe = %s AND bar_ts > %s ORDER BY bar_ts LIMIT 1
        ) first
    """
    found: datetime | None = statements.fetch(statement, [list(symbols), timeframe, after])[0][0]
    return found


def with_bars(
    symbols: Sequence[str], timeframe: str, since: datetime | None = None, until: datetime | None = None
) -> list[str]:
    """The symbols that have a bar, from a moment on and up to another where given, in their order."""
    statement = """
        SELECT symbol FROM unnest(%s::text[]) WITH ORDINALITY AS s(symbol, place) WHERE EXISTS (
            SELECT FROM market_ohlc b WHERE b.symbol = s.symbol AND b.timeframe = %s
            AND b.bar_ts BETWEEN coalesce(%s::timestamptz, '-infinity') AND coalesce(%s::timestamptz, 'infinity')
        ) ORDER BY place
    """
    return [symbol for (symbol,) in statements.fetch(statement, [list(symbols), timeframe, since, until])]


def last_close(symbol: str, timeframe: str) -> datetime | None:
    """The close of the newest bar that is stored, None when there is none."""
    bars = MarketOHLC.objects.filter(symbol=symbol, timeframe=timeframe).order_by("-bar_ts")
    return bars.values_list("bar_ts", flat=True).first()


def last_trade(symbol: str) -> datetime | None:
    """The time of the newest trade that is stored, None when there is none."""
    return MarketTrade.objects.filter(symbol=symbol).order_by("-ts").values_list("ts", flat=True).first()


def _read(statement: str, symbols: Sequence[str], timeframe: str, values: dict[str, Any]) -> Bars:
    names = tuple(symbols)
    if not names or len(set(names)) != len(names):
        raise DataError(f"symbols must be at least one and each only once, were {', '.join(names) or 'none'}")
    timeframes.seconds(timeframe)
    buffer = io.BytesIO()
    with connection.cursor() as cursor:
        query = cursor.mogrify(statement, {"symbols": list(names), "timeframe": timeframe, **values}).decode()
        with connection.wrap_database_errors:
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", buffer)
    return wire.decode(buffer.getvalue(), names, timeframe)


def _refuse_unknown(bars: Bars, at_least_one: bool, start: datetime | None, end: datetime | None) -> None:
    counts = np.count_nonzero(~np.isnan(bars.close), axis=0).tolist()
    empty = [symbol for symbol, count in zip(bars.symbols, counts, strict=True) if count == 0]
    if not empty:
        return
    unknown = sorted({*empty}.difference(with_bars(empty, bars.timeframe)))
    if unknown:
        stored = ", ".join(known_symbols(bars.timeframe)) or "none; `import_data` loads some"
        raise DataError(f"no {bars.timeframe} bars of {', '.join(unknown)} are stored; stored are {stored}")
    if at_least_one and not any(counts):
        names = ", ".join(bars.symbols)
        spans = "; ".join(_span(one) for one in inventory() if one.symbol in empty and one.timeframe == bars.timeframe)
        raise DataError(f"no {bars.timeframe} bars of {names}{_when(start, end)}; stored are {spans}")


def _span(stored: Stored) -> str:
    return f"{stored.symbol} {stored.first:%Y-%m-%d %H:%M} .. {stored.last:%Y-%m-%d %H:%M} UTC"


def _when(start: datetime | None, end: datetime | None) -> str:
    since = f" from {start:%Y-%m-%d %H:%M} UTC" if start else ""
    until = f" until {end:%Y-%m-%d %H:%M} UTC" if end else ""
    return since + until
