"""Sums over trailing windows whose every row depends on exactly its own window, in one fixed order.

A running sum carries rounding from bar to bar, so the same bar would get slightly different values in a live
window and in a backtest, and a flat stretch after a violent one would not sum to zero. Here a window of n
bars is put together from partial sums over 1, 2, 4, 8... bars: log2(n) passes, no memory, equal bits
wherever it starts. All arrays are (..., n_bars) with time last; a window that is not full, or holds a NaN,
gives NaN.
"""

from __future__ import annotations

import numpy as np

from tiers.contracts import TIE, FloatArray

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


def spread(first: FloatArray, second: FloatArray) -> FloatArray:
    """Variance from mean and mean square, for values whose mean is small beside their spread (returns).

    Exactly zero where all the variation is below rounding; NaN where either is NaN.
    """
    variance = second - first * first
    variance[variance <= ROUNDING * second] = 0.0
    return variance


def direction(difference: FloatArray, price: FloatArray) -> FloatArray:
    """1, -1, or 0 for prices that are equal but for rounding; NaN stays."""
    return np.where(np.abs(difference) <= TIE * price, 0.0, np.sign(difference))


def variance(values: FloatArray, n: int) -> FloatArray:
    """Population variance of the last `n` bars; the same restriction as `spread`."""
    return spread(mean(values, n), mean(values * values, n))


def level_line(values: FloatArray, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """For values with a large mean, over the last `n` bars: distance from the mean, deviation, slope per bar.

    The deviation is the population's, the slope that of least squares. Sums run over differences from the
    current bar: nothing cancels, and a flat window gives exactly zero three times.
    """
    distance, deviation, slope = (np.full(values.shape, np.nan) for _ in range(3))
    n_full = values.shape[-1] - n + 1
    if n_full <= 0:
        return distance, deviation, slope
    current = values[..., n - 1 :]
    first, second, tilt = (np.zeros(current.shape) for _ in range(3))
    step, product = np.empty(current.shape), np.empty(current.shape)
    for back in range(1, n):
        np.subtract(current, values[..., n - 1 - back : n - 1 - back + n_full], out=step)
        first += step
        tilt += np.multiply(step, back - (n - 1) / 2, out=product)
        second += np.multiply(step, step, out=product)
    distance[..., n - 1 :] = first / n
    deviation[..., n - 1 :] = np.sqrt(spread(first / n, second / n))
    slope[..., n - 1 :] = tilt * (12.0 / (n * (n * n - 1.0)))
    return distance, deviation, slope


def ratio(numerator: FloatArray, denominator: FloatArray, *, empty: float = np.nan) -> FloatArray:
    """Quotient; `empty` where the denominator is zero and the numerator known, NaN where either is NaN."""
    quotient = numerator / denominator
    zero = denominator == 0
    if zero.any():
        quotient[zero] = np.where(np.isnan(numerator[zero]), np.nan, empty)
    return quotient


def balance(one: FloatArray, other: FloatArray) -> FloatArray:
    """(one - other) / (one + other) for values >= 0: in [-1, 1], zero where they are equal or both are zero.

    It is tanh(log(one / other) / 2): as symmetric as a log ratio, and finite where one side is zero.
    """
    return ratio(one - other, one + other, empty=0.0)
