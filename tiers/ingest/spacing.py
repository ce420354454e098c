"""Whether the rows of a source lie as far apart as its timeframe says."""

from __future__ import annotations

import numpy as np

from tiers.contracts import BarTable, Calendar, IntArray, TimeArray, distinct, timeframes
from tiers.contracts.errors import DataError

FEWEST = 3  # distances; fewer say nothing
RARELY = 0.05  # of the distances: an illiquid market has some bars that follow each other
TICK_S = 1e-6


def check(table: BarTable, hours: Calendar, *, source: str) -> None:
    """Rows that are further apart than a bar, nearly all of them, or closer together are of another timeframe.

    Distances count in bars of the calendar, so that nights and holidays are none. Raises: DataError.
    """
    ts = distinct(table.ts[~np.isnat(table.ts)])
    if len(ts) <= FEWEST:
        return
    apart_s = float(np.median(np.diff(ts).astype(np.int64))) * TICK_S
    steps = _steps(ts, table.timeframe, hours)
    sparse = np.median(steps) > 1 and np.mean(steps == 1) < RARELY
    dense = apart_s < timeframes.seconds(table.timeframe) and np.median(steps) < 1
    if sparse or dense:
        fits = [name for name in timeframes.TIMEFRAMES if np.median(_steps(ts, name, hours)) == 1]
        advice = f"--timeframe {fits[0]} would fit" if fits else f"none of {', '.join(timeframes.TIMEFRAMES)} fits"
        raise DataError(
            f"{source} must have rows {table.timeframe} apart, was {_length(apart_s)} apart "
            f"(median of {len(steps)} distances); {advice}"
        )


def _steps(ts: TimeArray, timeframe: str, hours: Calendar) -> IntArray:
    """The distances in bars."""
    return np.diff(hours.index(timeframe, ts))


def _length(apart_s: float) -> str:
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if apart_s >= seconds:
            return f"{apart_s / seconds:g}{unit}"
    return f"{apart_s:g}s"
