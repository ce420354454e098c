"""Covariance for the next bar: forecast volatilities around a shrunk trailing correlation, D C D.

The correlation is the estimator of Ledoit and Wolf, "A well-conditioned estimator for large-dimensional
covariance matrices" (J. Multivariate Analysis 88, 2004), applied to standardised returns. Its target, the
identity times the mean variance, then is the identity, and the estimate keeps a unit diagonal.
"""

from __future__ import annotations

import numba
import numpy as np

from tiers.contracts import BoolArray, FloatArray

# Below this variance a column of returns counts as constant: a price that never moved, not a risk of zero.
STILL = 1e-24


@numba.njit(cache=True)
def usable_columns(returns: FloatArray, min_history: int) -> BoolArray:
    """Which symbols have at least `min_history` finite returns that are not all equal; (n_symbols,)."""
    n, p = returns.shape
    out = np.zeros(p, dtype=np.bool_)
    for j in range(p):
        count, total, squares = 0, 0.0, 0.0
        for i in range(n):
            if np.isfinite(returns[i, j]):
                count += 1
                total += returns[i, j]
        if count < max(min_history, 2):
            continue
        for i in range(n):
            if np.isfinite(returns[i, j]):
                squares += (returns[i, j] - total / count) ** 2
        out[j] = squares / count > STILL
    return out


@numba.njit(cache=True)
def _complete_rows(returns: FloatArray, usable: BoolArray) -> FloatArray:
    """The rows in which every usable symbol has a return, with 0 in the columns of the others."""
    n, p = returns.shape
    out = np.zeros((n, p))
    count = 0
    for i in range(n):
        complete = True
        for j in range(p):
            if usable[j]:
                out[count, j] = returns[i, j]
                complete = complete and np.isfinite(returns[i, j])
        if complete:
            count += 1
    return out[:count]


@numba.njit(cache=True)
def standardised(returns: FloatArray, usable: BoolArray) -> FloatArray:
    """Rows in which every usable symbol has a return, in units of its deviation from its mean.

    (n_complete, n_symbols); mean 0 and variance 1 (divided by n) a usable column, 0 in the others.
    """
    z = _complete_rows(returns, usable)
    n, p = z.shape
    for j in range(p):
        mean, squares = 0.0, 0.0
        for i in range(n):
            mean += z[i, j] / n
        for i in range(n):
            squares += (z[i, j] - mean) ** 2 / n
        for i in range(n):
            z[i, j] = (z[i, j] - mean) / np.sqrt(squares) if squares > STILL else 0.0
    return z


@numba.njit(cache=True)
def _sample(z: FloatArray) -> FloatArray:
    """Second moments Z'Z / n by plain sums, whose order of additions no library changes."""
    n, p = z.shape
    out = np.zeros((p, p))
    for i in range(n):
        for j in range(p):
            for k in range(j, p):
                out[j, k] += z[i, j] * z[i, k]
    for j in range(p):
        for k in range(j, p):
            out[j, k] /= n
            out[k, j] = out[j, k]
    return out


@numba.njit(cache=True)
def _intensity(z: FloatArray, sample: FloatArray) -> float:
    """Shrinkage towards the identity, 0 to 1: b^2 / d^2 of the paper's section 3.2."""
    n, p = z.shape
    squares, distance, fourth = 0.0, 0.0, 0.0
    for j in range(p):
        for k in range(p):
            squares += sample[j, k] ** 2
            distance += sample[j, k] ** 2 if j != k else 0.0
    for i in range(n):
        norm = 0.0
        for j in range(p):
            norm += z[i, j] ** 2
        fourth += norm**2
    noise = (fourth / n - squares) / n
    if distance <= 0.0:  # nothing off the diagonal
        return 0.0
    shrinkage: float = min(max(noise, 0.0), distance) / distance
    return shrinkage


@numba.njit(cache=True)
def shrunk_correlation(returns: FloatArray, min_history: int) -> tuple[FloatArray, float]:
    """Ledoit-Wolf correlation of the trailing returns, and the shrinkage that was applied.

    `returns` is (n_window, n_symbols). A symbol with fewer than `min_history` finite returns, or whose price
    never moved, is taken as uncorrelated with all others. The others share the rows in which all of them have
    a return. The result is (n_symbols, n_symbols), symmetric, positive definite, with a unit diagonal.
    """
    usable = usable_columns(returns, min_history)
    z = standardised(returns, usable)
    p = returns.shape[1]
    if len(z) < max(min_history, 2):
        return np.eye(p), 0.0
    sample = _sample(z)
    shrinkage = _intensity(z, sample)
    for j in range(p):
        for k in range(p):
            sample[j, k] = 1.0 if j == k else (1.0 - shrinkage) * sample[j, k]
    return sample, shrinkage


def covariance(returns: FloatArray, sigma: FloatArray, *, min_history: int) -> FloatArray:
    """D C D with forecast `sigma` (n_symbols,) per bar on D; rows and columns of an unknown sigma are NaN."""
    correlation, _ = shrunk_correlation(returns, min_history)
    out: FloatArray = sigma[:, None] * correlation * sigma[None, :]
    return out
