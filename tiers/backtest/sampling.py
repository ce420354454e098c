"""At which bars the returns end of which figures of a year are made, and how many of them a year has. Pure.

What one symbol did must stand beside what the others did meanwhile, or the account looks calmer than it is: closes
of coins come hours behind those of stocks, and a symbol without a bar counts at its last close. So a return goes from
one bar that every symbol has to the next; of daily bars from one day to the next, since those of one day close at
different times; and of a finer timeframe from day to day, too, where more days are whole than bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tiers.contracts import Bars, BoolArray, IntArray, TimeArray, timeframes
from tiers.contracts.parameters import DAY_S, bars_a_year
from trading.market.calendars import LONGEST_CLOSURE, Calendar

OFTEN = 0.02  # of the distances of a symbol's bars: a halt is rarer
YEAR_DAYS = 365.25
YEAR_S = YEAR_DAYS * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """`rows` (n,) of the decided bars, ascending and the first among them: a return goes from one to the next."""

    rows: IntArray
    per_year: float  # returns
    of_days: bool  # the rows are the last ones of days


def sampling_of(bars: Bars, calendars: Mapping[str, Calendar]) -> Sampling:
    """The sampling of these bars, (n_bars, n_symbols) of two bars and more, NaN where a symbol has none.

    Where all symbols that have any are of one calendar, `calendars` by symbol, a year has its bars, times the share
    that came from the first to the last; else as many as came in the time that passed.
    """
    known = np.isfinite(bars.close)
    by_day = _of_days(bars.ts, known)
    by_bar = by_day if timeframes.seconds(bars.timeframe) >= DAY_S else _whole(bars.ts, known)
    of_days = len(by_day) > len(by_bar) or by_bar is by_day
    rows = by_day if of_days else by_bar
    found = {calendars.get(symbol) for symbol, has in zip(bars.symbols, known.T, strict=True) if has.any()}
    one = found.pop() if len(found) == 1 and (by_bar is rows) else None
    return Sampling(rows=rows, per_year=_per_year(bars.ts[rows], bars.timeframe, one), of_days=of_days)


def years_between(ts: TimeArray) -> float:
    """Years of 365.25 days between the first and the last bar."""
    return float((ts[-1] - ts[0]) / np.timedelta64(1, "s")) / YEAR_S


def n_expected(ts: TimeArray, timeframe: str, calendar: Calendar) -> int:
    """Bars that a complete series has from the first of these to the last, both counted."""
    first, last = calendar.index(timeframe, ts[[0, -1]]).tolist()
    return int(last - first + 1)


def _per_year(ts: TimeArray, timeframe: str, calendar: Calendar | None) -> float:
    if calendar is None:
        return (len(ts) - 1) / years_between(ts)
    share = (len(ts) - 1) / max(1, n_expected(ts, timeframe, calendar) - 1)
    return bars_a_year(timeframe, closes=calendar.closes) * min(1.0, share)


def _of_days(ts: TimeArray, known: BoolArray) -> IntArray:
    """The last rows of the days (UTC, up to and with midnight) that are whole; and the first row, where all begins."""
    day = -(-ts.astype("datetime64[s]").astype(np.int64) // DAY_S)
    first = np.flatnonzero(np.diff(day, prepend=day[0] - 1))
    last = np.append(first[1:], len(ts)) - 1
    return np.union1d([0], last[_whole(ts[last], np.logical_or.reduceat(known, first))])


def _whole(ts: TimeArray, known: BoolArray) -> IntArray:
    """The rows in which each symbol that trades has a bar: none lies between two of its bars up to a week apart.

    Of one whose bars are often further apart none lies between any two.
    """
    pausing = np.zeros(len(ts) + 1, dtype=np.int64)
    for column in known.T:
        own = np.flatnonzero(column)
        short = np.diff(ts[own]) <= np.timedelta64(LONGEST_CLOSURE)
        if np.count_nonzero(~short) > OFTEN * len(short):
            short[:] = True
        pausing[own[:-1][short] + 1] += 1
        pausing[own[1:][short]] -= 1
    return np.flatnonzero(np.cumsum(pausing[:-1]) == 0)
