"""The window of returns that risk and portfolio look at, the same live and over history."""

from __future__ import annotations

from collections.abc import Collection

import numba
import numpy as np

from tiers.contracts import LONGEST_CLOSURE, Bars, FloatArray, IntArray, timeframes
from tiers.contracts.ended import LONGEST
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import DAY_S, bars_a_day


def rows_read(n_window: int, timeframe: str, *, both: bool = False) -> int:
    """Rows of the timeline behind a window, its last row included; that many own bars of each symbol hold them.

    Of daily bars they hold `n_window` + 2 sessions where coins, which close at another instant, stand beside stocks:
    a session takes its own row and, with nights, weekends and holidays, at most one and a half rows of a coin. Within
    days a book of `both` has a row for each bar of the coins, through the nights and the longest closure.
    """
    if timeframes.seconds(timeframe) >= DAY_S:
        return (5 * (n_window + 2)) // 2 + 8
    if not both:
        return n_window + 1
    sessions = -(-(n_window + 1) // bars_a_day(timeframe, closes=True)) + 1  # one for half days
    return (7 * sessions // 5 + LONGEST_CLOSURE.days) * bars_a_day(timeframe, closes=False)


def window_returns(bars: Bars, row: int, n_window: int, around_the_clock: Collection[str] = ()) -> FloatArray:
    """Simple returns of the forward-filled closes: `n_window` periods, the last known at `row`, oldest first.

    A period is that of a row at which more than what has ended had a bar, except where stocks and coins are in one
    book. In daily bars it is a session day there, from the end of the last one to its own, and a day that has not ended
    yet is left out. Within days it ends where both markets have a bar, so that the night of a stock stands beside that
    of a coin; `around_the_clock` names the coins of such a book. Where either market has ended, or not
    begun, it is that of a row.
    The result is (n_window, n_symbols). Only the `rows_read` rows that end at `row` are read, so a live window of that
    length gives the batch values. NaN before a symbol's first close inside that window and where the timeline is
    shorter; 0 where a symbol has no bar after its first, and in all of one that has ended. `DataError` when `row` is
    not on the timeline.
    """
    if not 0 <= row < bars.n_bars:
        raise DataError(f"row must be from 0 to {bars.n_bars - 1}, was {row}")
    first = max(0, row + 1 - rows_read(n_window, bars.timeframe, both=bool(around_the_clock)))
    ends = _ends(bars, first, row, around_the_clock)
    all_there = bool(np.isfinite(bars.close[row]).all())
    recent = row if all_there else int(np.searchsorted(bars.ts, bars.ts[row] - LONGEST))
    if ends is None:
        ends = np.arange(max(0, row - n_window), row + 1) if all_there else _rows_of_listed(bars, first, recent, row)
        first = int(ends[-n_window - 1 :][0])
    return _window_returns(bars.close, ends[-n_window - 1 :], (first, recent, row), n_window)


def _rows_of_listed(bars: Bars, first: int, recent: int, row: int) -> IntArray:
    """The rows from `first` on but those at which nothing but what has had no bar since `recent` has one."""
    known = np.isfinite(bars.close[first : row + 1])
    listed = known[max(0, recent - first) :].any(axis=0)
    kept: IntArray = first + np.flatnonzero(known[:, listed].any(axis=1) | ~known.any(axis=1))
    return kept


def _ends(bars: Bars, first: int, row: int, around_the_clock: Collection[str]) -> IntArray | None:
    """The last rows of the periods up to `row`; None where each row is one."""
    if timeframes.seconds(bars.timeframe) >= DAY_S:
        ends = _session_ends(bars, first, row)
    else:
        ends = _common_rows(bars, first, row, around_the_clock) if around_the_clock else None
    return ends if ends is None else _with_rows_between(bars, first, row, ends)


def _with_rows_between(bars: Bars, first: int, row: int, ends: IntArray) -> IntArray:
    """The ends, and each row from a week behind the one before it on, as where a market has no bar yet.

    So each row before the first end, but for the day that it ends.
    """
    if not len(ends):
        return ends
    rows = np.arange(first, row + 1)
    before = np.searchsorted(ends, rows, side="right") - 1
    late = bars.ts[rows] - bars.ts[ends[np.maximum(before, 0)]] > LONGEST
    early = bars.ts[ends[0]] - bars.ts[rows] >= np.timedelta64(DAY_S, "s")
    return np.union1d(ends, rows[np.where(before < 0, early, late)])


def _common_rows(bars: Bars, first: int, row: int, around_the_clock: Collection[str]) -> IntArray | None:
    """The rows up to `row` at which symbols of both markets have a bar; None where one of these has ended."""
    coins = np.array([symbol in around_the_clock for symbol in bars.symbols])
    known = np.isfinite(bars.close[first : row + 1])
    ends: IntArray = first + np.flatnonzero(known[:, coins].any(axis=1) & known[:, ~coins].any(axis=1))
    return ends if len(ends) and bars.ts[row] - bars.ts[ends[-1]] <= LONGEST else None


def _session_ends(bars: Bars, first: int, row: int) -> IntArray | None:
    """The last row of every session day that has ended by `row`; None unless they close at both instants to the end."""
    closes_s = bars.ts[first : row + 1].astype("datetime64[s]").astype(np.int64)
    day_ends_s = -(-closes_s // DAY_S) * DAY_S
    within = closes_s < day_ends_s
    recent = within[closes_s[-1] - closes_s <= LONGEST_CLOSURE.total_seconds()]
    if recent.all() or not recent.any():
        return None
    days = np.unique(day_ends_s[within])
    ends: IntArray = first + np.searchsorted(closes_s, days[days <= closes_s[-1]], side="right") - 1
    return ends


@numba.njit(cache=True)
def _window_returns(close: FloatArray, ends: IntArray, rows: tuple[int, int, int], n_window: int) -> FloatArray:
    """Returns between the rows `ends`, of closes that are carried forward from the first of three rows on.

    They are 0 of a symbol that has no close between the other two.
    """
    first, recent, row = rows
    n_symbols, n_ends = close.shape[1], len(ends)
    out = np.full((n_window, n_symbols), np.nan)
    for j in range(n_symbols):
        last, before, k = np.nan, np.nan, 0
        newest = row
        while newest >= max(recent, first) and not np.isfinite(close[newest, j]):
            newest -= 1
        for i in range(first, ends[n_ends - 1] + 1 if n_ends else first):
            if np.isfinite(close[i, j]):
                last = close[i, j]
            if i == ends[k]:
                if k > 0:
                    change = last / before - 1.0
                    out[n_window - n_ends + k, j] = change if newest >= recent or np.isnan(change) else 0.0
                before, k = last, k + 1
    return out
