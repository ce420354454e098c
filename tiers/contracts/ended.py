"""Symbols whose market has ended, or stands still: no tier sees them, and money that is in them bears no leverage."""

from __future__ import annotations

import numpy as np

from tiers.contracts import LONGEST_CLOSURE, Bars, BoolArray, FloatArray

LONGEST = np.timedelta64(LONGEST_CLOSURE)


def ended(bars: Bars) -> BoolArray:
    """(n_bars, n_symbols) whether the last bar of a symbol closed more than a week before that row; before its first
    bar none has ended.
    """
    out = np.zeros(bars.close.shape, dtype=np.bool_)
    for column, close in enumerate(bars.close.T):
        own = np.flatnonzero(np.isfinite(close))
        behind = np.append(own[1:], len(close))  # the row of the next bar
        last = np.minimum(behind, len(close) - 1)
        for k in np.flatnonzero(bars.ts[last] - bars.ts[own] > LONGEST):
            begin = np.searchsorted(bars.ts, bars.ts[own[k]] + LONGEST, side="right")
            out[begin : behind[k], column] = True
    return out


def most_in_all(leverage: float, weights: FloatArray, has_ended: BoolArray) -> float:
    """What weights may sum to: the leverage counts for the money that is not in symbols that have ended."""
    held = float(np.maximum(weights[has_ended], 0.0).sum())
    return held + leverage * max(0.0, 1.0 - held)
