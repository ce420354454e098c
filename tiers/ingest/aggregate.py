"""Bars of a higher timeframe from those of a lower one; only what has closed comes out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tiers.contracts import BarTable, BoolArray, Calendar, IntArray, TimeArray, bar_table, stamp, timeframes, utc
from tiers.ingest.bar_problems import Code, Problem

INTRADAY = ("5m", "15m", "1h")  # the higher timeframes, each a multiple of the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregated:
    """Higher bars of one symbol, those that lack a base bar included.

    `seen` and `due` are (n_rows,): the base bars used, and those that a complete bar is made of.
    """

    table: BarTable
    seen: IntArray
    due: IntArray

    @property
    def complete(self) -> BoolArray:
        """(n_rows,) whether no base bar was missing."""
        return np.asarray(self.seen >= self.due)

    @property
    def whole(self) -> BarTable:
        """The complete bars. The others would tell of a part of their time as if it were all of it."""
        return self.table.take(self.complete)

    def problems(self) -> tuple[Problem, ...]:
        """A note for each bar that is not complete."""
        return tuple(self._incomplete(int(row)) for row in np.flatnonzero(~self.complete))

    def _incomplete(self, row: int) -> Problem:
        at, lacking = utc(self.table.ts[row]), int(self.due[row] - self.seen[row])
        what = f"the {self.table.timeframe} bar of {at:%Y-%m-%d %H:%M} UTC"
        detail = f"{what} was left out: {self.seen[row]} of its {self.due[row]} bars are there"
        code = Code.INCOMPLETE
        return Problem(code=code, symbol=self.table.symbol, bar_ts=at, detail=detail, missing_bars=lacking)


def targets(timeframe: str) -> tuple[str, ...]:
    """The intraday timeframes that bars of `timeframe` can be aggregated to."""
    base = timeframes.seconds(timeframe)
    return tuple(name for name in INTRADAY if timeframes.seconds(name) > base)


def bucket_close(ts: TimeArray, timeframe: str) -> TimeArray:
    """The close of the `timeframe` bar on the UTC clock that holds each base bar; any shape."""
    step = timeframes.seconds(timeframe) * 1_000_000
    whole = -(-ts.astype("datetime64[us]").astype(np.int64) // step) * step
    return np.asarray(whole.astype("datetime64[us]"))


def bucket_starts(closes: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Where each bucket begins among the closes of rows that lie by time."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(closes)), bool), closes[1:] != closes[:-1]]))


def aggregate(
    table: BarTable, target: str, calendar: Calendar, *, until: datetime, since: datetime | None = None
) -> Aggregated:
    """Clean bars of one symbol -> the `target` bars that closed in (since, until].

    Open is the first, close the last, high and low the extremes, volume the sum of a bucket's base bars.
    A bucket without any base bar gives no bar. Bars later than `until` have no influence.
    """
    closes = bucket_close(table.ts, target)
    wanted = closes <= stamp(until)
    if since is not None:
        wanted &= closes > stamp(since)
    part, closes = table.take(wanted), closes[wanted]
    if not part.n_rows:
        none = np.empty(0, np.int64)
        return Aggregated(table=bar_table(table.symbol, target, part.ts, [part.close] * 5), seen=none, due=none)
    starts = bucket_starts(closes)
    seen = np.diff(np.append(starts, part.n_rows))
    fields = (
        part.open[starts],
        np.maximum.reduceat(part.high, starts),
        np.minimum.reduceat(part.low, starts),
        part.close[starts + seen - 1],
        np.add.reduceat(part.volume, starts),
    )
    higher = bar_table(table.symbol, target, closes[starts], fields)
    return Aggregated(table=higher, seen=seen, due=_due(higher.ts, table.timeframe, target, calendar))


def _due(closes: TimeArray, base: str, target: str, calendar: Calendar) -> IntArray:
    """How many base bars each bucket has when the market's session is complete."""
    length = np.timedelta64(timeframes.seconds(target), "s")
    return calendar.index(base, closes) - calendar.index(base, closes - length)
