"""Wilder's directional movement. Source: Wilder 1978, seeded as TA-Lib does.

Not TA-Lib's: where high and low move by as many ticks, Wilder counts neither, and there rounding decides.
"""

from __future__ import annotations

import numba
import numpy as np

from tiers.contracts import TIE, FloatArray


@numba.njit(cache=True)
def directional(high: FloatArray, low: FloatArray, close: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """(+DI - -DI)/100 and ADX/100 over `n` bars, each (n_symbols, n_bars): NaN before row n and row 2n - 1.

    Both are 0 where nothing has moved yet. Prices are finite.
    """
    balance, index = np.full(close.shape, np.nan), np.full(close.shape, np.nan)
    for s in range(close.shape[0]):
        plus = minus = reach = strength = 0.0  # running sums; the last one is the ADX once it has n values
        for t in range(1, close.shape[1]):
            if t >= n:
                plus, minus, reach = plus - plus / n, minus - minus / n, reach - reach / n
            up, down, tie = high[s, t] - high[s, t - 1], low[s, t - 1] - low[s, t], TIE * close[s, t]
            if up > tie and up > down + tie:
                plus += up
            elif down > tie and down > up + tie:
                minus += down
            reach += max(high[s, t], close[s, t - 1]) - min(low[s, t], close[s, t - 1])
            if t < n:
                continue
            balance[s, t] = (plus - minus) / reach if reach > 0 else 0.0
            now = abs(plus - minus) / (plus + minus) if plus + minus > 0 else 0.0
            if t < 2 * n:
                strength += now / n
            else:
                strength += (now - strength) / n
            if t >= 2 * n - 1:
                index[s, t] = strength
    return balance, index
