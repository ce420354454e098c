"""Sums over trailing windows whose every row depends on exactly its own window, in one fixed order.

A running sum carries rounding from bar to bar, so the same bar would get slightly different values in a live
window and in a backtest, and a flat stretch after a violent one would not sum to zero. Here a window of n bars is
put together from partial sums over 1, 2, 4, 8... bars: log2(n) passes, no memory, equal bits wherever it starts.
All arrays are (..., n_bars) with time last; a window that is not full, or holds a NaN, gives NaN.
"""

from __future__ import annotations

import numpy as np

from tiers.contracts import FloatArray

# A variance below this share of the mean square is rounding, not movement.
ROUNDING = 1e-12


def total(values: FloatArray, n: int) -> FloatArray:
    """Sum of the last `n` bars; (..., n_bars) to (..., n_bars), NaN before row n - 1."""
    out = np.full(values.shape, np.nan)
    n_full = values.shape[-1] - n + 1
    if n_full <= 0:
        return out
    full = out[..., n - 1 :]
    full[...] = 0.0
    partial, width, done = values, 1, 0
    while True:
        if n & width:
            full += partial[..., done : done + n_full]
            done += width
        if 2 * width > n:
            return out
        partial = partial[..., :-width] + partial[..., width:]
        width *= 2


def mean(values: FloatArray, n: int) -> FloatArray:
    """Mean of the last `n` bars; shapes and NaN rule as in `total`."""
    return total(values, n) / n


def lag(values: FloatArray, n: int) -> FloatArray:
    """The value `n` bars ago; NaN in the first `n` rows."""
    out = np.full(values.shape, np.nan)
    if n < values.shape[-1]:
        out[..., n:] = values[..., : values.shape[-1] - n]
    return out


def variance(values: FloatArray, n: int) -> FloatArray:
    """Population variance of the last `n` bars for values whose mean is small beside their spread (returns).

    Exactly zero where all the variation is below rounding.
    """
    square = mean(values * values, n)
    centre = mean(values, n)
    result = square - centre * centre
    return np.where(result <= ROUNDING * square, np.where(np.isnan(result), np.nan, 0.0), result)


def level_deviation(values: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Distance from the mean of the last `n` bars and population standard deviation, for values with a large mean.

    Sums run over differences from the current bar, so nothing cancels and a flat window gives exactly zero twice.
    """
    size = values.shape[-1] - n + 1
    distance, deviation = np.full(values.shape, np.nan), np.full(values.shape, np.nan)
    if size <= 0:
        return distance, deviation
    current = values[..., n - 1 :]
    first, second = np.zeros(current.shape), np.zeros(current.shape)
    step = np.empty(current.shape)
    for back in range(1, n):
        np.subtract(current, values[..., n - 1 - back : n - 1 - back + size], out=step)
        first += step
        np.multiply(step, step, out=step)
        second += step
    first /= n
    second /= n
    distance[..., n - 1 :] = first
    spread = second - first * first
    deviation[..., n - 1 :] = np.sqrt(np.where(spread <= ROUNDING * second, 0.0, spread))
    return distance, deviation


def ratio(numerator: FloatArray, denominator: FloatArray, *, empty: float = np.nan) -> FloatArray:
    """Quotient; `empty` where the denominator is exactly zero and the numerator is known, NaN where either is NaN."""
    known = np.where(np.isnan(numerator), np.nan, empty)
    return np.divide(numerator, denominator, out=known, where=denominator != 0)


def balance(one: FloatArray, other: FloatArray) -> FloatArray:
    """(one - other) / (one + other) for values >= 0: in [-1, 1], zero where they are equal or both are zero.

    It is tanh(log(one / other) / 2): as symmetric as a log ratio, and finite where one side is zero.
    """
    return ratio(one - other, one + other, empty=0.0)
