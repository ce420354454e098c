"""The window of returns that risk and portfolio look at, the same live and over history."""

from __future__ import annotations

import numba
import numpy as np

from tiers.contracts import FloatArray
from tiers.contracts.errors import DataError


def window_returns(close: FloatArray, row: int, n_window: int) -> FloatArray:
    """Simple returns of the forward-filled closes: the `n_window` rows that end at `row`, oldest first.

    `close` is (n_bars, n_symbols) on the union timeline, NaN where a symbol has no bar; the result is
    (n_window, n_symbols). Only the n_window + 1 closes that end at `row` are read, so a live window of that
    length gives the batch values. NaN before a symbol's first close inside that window and where the timeline
    is shorter; 0 where a symbol has no bar after its first. `DataError` when `row` is not on the timeline.
    """
    if not 0 <= row < len(close):
        raise DataError(f"row must be from 0 to {len(close) - 1}, was {row}")
    return _window_returns(close, row, n_window)


@numba.njit(cache=True)
def _window_returns(close: FloatArray, row: int, n_window: int) -> FloatArray:
    n_symbols = close.shape[1]
    out = np.full((n_window, n_symbols), np.nan)
    first = max(0, row - n_window)
    for j in range(n_symbols):
        last = close[first, j]
        for i in range(first + 1, row + 1):
            price = close[i, j] if np.isfinite(close[i, j]) else last
            out[n_window - 1 - (row - i), j] = price / last - 1.0
            last = price
    return out
