"""Limits on the book as a whole: state by drawdown, leverage by volatility, correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np

from tiers.contracts import BoolArray, FloatArray, TradingState
from tiers.contracts.parameters import RiskParams

_STILL = 1e-24  # variance below which a price never moved


def next_state(state: TradingState, drawdown: float, params: RiskParams) -> TradingState:
    """Trading state for this bar; the only memory is the state before it.

    HALTED stays until a person changes the book. REDUCING begins at `reduce_drawdown` and ends below
    `resume_drawdown`, so a drawdown that hovers at one limit does not flicker.
    """
    if state is TradingState.HALTED or drawdown >= params.halt_drawdown:
        return TradingState.HALTED
    limit = params.resume_drawdown if state is TradingState.REDUCING else params.reduce_drawdown
    return TradingState.REDUCING if drawdown >= limit else TradingState.ACTIVE


def deleveraging(drawdown: float, params: RiskParams) -> float:
    """Factor on the leverage bound: 1 up to `delever_start`, then falling linearly to `delever_floor`."""
    way = (drawdown - params.delever_start) / (params.delever_end - params.delever_start)
    return 1.0 - (1.0 - params.delever_floor) * min(1.0, max(0.0, way))


def target_leverage(symbols: Sequence[str], sigma: FloatArray, correlation: float, params: RiskParams) -> float:
    """Leverage, capped, that gives an equal-weighted book of the known symbols the target volatility.

    `sigma` is (n_symbols,) per own bar, NaN where unknown: a year has each symbol's own number of them. `correlation`
    is the mean pairwise correlation, taken as 1 when NaN. Without any known volatility the cap itself: the weight
    limits then forbid new exposure.
    """
    yearly = sigma * np.sqrt([params.own_bars_per_year.get(symbol, params.bars_per_year) for symbol in symbols])
    known = yearly[np.isfinite(yearly) & (yearly > 0.0)]
    if not len(known):
        return params.max_leverage
    mean_correlation = 1.0 if math.isnan(correlation) else max(0.0, correlation)
    own = float((known * known).sum())
    cross = float(known.sum()) ** 2 - own
    volatility = math.sqrt(own + mean_correlation * cross) / len(known)
    return min(params.max_leverage, params.target_volatility / volatility)


@numba.njit(cache=True)
def mean_correlations(returns: FloatArray, min_history: int) -> FloatArray:
    """Mean correlation of each symbol with every other, (n_symbols,).

    `returns` is (n_window, n_symbols). Symbols with fewer than `min_history` finite returns, or that never
    moved, are left out and get NaN; the others share their complete rows. NaN too where nothing is left to
    compare with.
    """
    n, p = returns.shape
    used, n_used = np.zeros(p, dtype=np.bool_), 0
    for j in range(p):
        n_known, moved = 0, False
        for i in range(n):
            n_known += np.isfinite(returns[i, j])
            moved = moved or (np.isfinite(returns[i, j]) and returns[i, j] != 0.0)
        used[j] = n_known >= min_history and moved
    mean, variance, rows = np.zeros(p), np.zeros(p), np.zeros(n, dtype=np.bool_)
    count = 0
    for i in range(n):
        rows[i] = True
        for j in range(p):
            rows[i] = rows[i] and (np.isfinite(returns[i, j]) or not used[j])
        count += rows[i]
    for j in range(p):
        if used[j] and count >= min_history:
            mean[j], variance[j] = _moments(returns, rows, j)
        used[j] = variance[j] > _STILL
        n_used += used[j]
    out = np.full(p, np.nan)
    if n_used > 1:
        _write_means(returns, rows, (mean, variance, used), out)
    return out


@numba.njit(cache=True)
def _moments(returns: FloatArray, rows: BoolArray, j: int) -> tuple[float, float]:
    """Mean and variance of a symbol in those rows; plain sums compile in a third of the time of whole arrays."""
    count, total, squares = 0, 0.0, 0.0
    for i in range(len(rows)):
        if rows[i]:
            count += 1
            total += returns[i, j]
    mean = total / count
    for i in range(len(rows)):
        if rows[i]:
            squares += (returns[i, j] - mean) ** 2
    return mean, squares / count


@numba.njit(cache=True)
def _write_means(
    returns: FloatArray, rows: BoolArray, moments: tuple[FloatArray, FloatArray, BoolArray], out: FloatArray
) -> None:
    """Sum over the symbols first: the mean of all correlations in one pass over the rows."""
    mean, variance, used = moments
    n, p = returns.shape
    count, n_used, products = np.sum(rows), np.sum(used), np.zeros(p)
    for i in range(n):
        if rows[i]:
            together = 0.0
            for j in range(p):
                if used[j]:
                    together += (returns[i, j] - mean[j]) / np.sqrt(variance[j])
            for j in range(p):
                if used[j]:
                    products[j] += together * (returns[i, j] - mean[j]) / np.sqrt(variance[j])
    for j in range(p):
        if used[j]:
            out[j] = (products[j] / count - 1.0) / (n_used - 1)
