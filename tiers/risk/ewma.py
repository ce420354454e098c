"""Exponentially weighted volatility over a finite window (RiskMetrics Technical Document, 1996)."""

from __future__ import annotations

import numba
import numpy as np

from tiers.contracts import FloatArray


@numba.njit(cache=True)
def ewma_variance(returns: FloatArray, first: int, decay: float, window: int, minimum: int) -> FloatArray:
    """Next-bar variance after each own bar k >= `first`, NaN before `first` and with too few returns.

    `returns` is (n,) where element k is the log return into bar k; element 0 has no meaning (the first bar
    has no return). The weights decay^i over the last min(k, `window`) squared returns are divided by their
    sum, so a value depends on `window` returns at most, and a live window of that length gives it too.
    """
    out = np.full(len(returns), np.nan)
    for k in range(max(first, minimum), len(returns)):
        total, weights, weight = 0.0, 0.0, 1.0
        for i in range(min(k, window)):
            total += weight * returns[k - i] ** 2
            weights += weight
            weight *= decay
        out[k] = total / weights
    return out
