"""Mean-variance with trading costs, solved exactly and always in the same way.

    maximise    w'mu - risk_aversion / 2 w'Sigma w - cost'|w - previous|
    subject to  low <= w <= high,  sum w <= budget,        Sigma = D C D

by an accelerated proximal gradient (Beck and Teboulle, 2009) with restart (O'Donoghue and Candes, 2015) in
the metric of D^2, so that only the condition of the correlation matters. The proximal step is exact: a soft
threshold around the previous weights, then the box, then the one multiplier of the budget.
"""

from __future__ import annotations

import numba
import numpy as np

from tiers.contracts import FloatArray
from tiers.contracts.errors import DataError

Step = tuple[FloatArray, FloatArray, FloatArray, FloatArray]  # target, previous, metric, cost
Bounds = tuple[FloatArray, FloatArray, float]  # low, high, budget

# Curvature given to a symbol of unknown volatility; its bounds must coincide, so the value is never seen.
_UNSEEN_CURVATURE = 1.0
_BUDGET_ERROR = 1e-13  # of a sum of weights; rounding of twenty additions stays below it
_MULTIPLIER_STEPS = 200  # bisection alone reaches the last bit in about 60 steps


def solve(
    *,
    mu: FloatArray,
    sigma: FloatArray,
    correlation: FloatArray,
    previous: FloatArray,
    low: FloatArray,
    high: FloatArray,
    budget: float,
    risk_aversion: float,
    cost: FloatArray,
    tolerance: float = 1e-10,
    max_iterations: int = 5_000,
) -> tuple[FloatArray, int]:
    """Optimal weights (n_symbols,) and the iterations they took.

    `mu` and `sigma` are per bar, `cost` is return lost per unit of turnover of each symbol and bar. A symbol with
    sigma 0 or NaN must have low == high and stays there, without a part in the risk. Stops when no weight moves by
    more than `tolerance` in an iteration. `DataError` when the bounds cross or do not fit the budget.
    """
    if not (low <= high).all():
        worst = int(np.argmin(high - low))
        raise DataError(f"low must be at most high, was {low[worst]} above {high[worst]} in place {worst}")
    if not low.sum() <= budget + 1e-12:
        raise DataError(f"budget must be at least the sum of the lower bounds {low.sum()}, was {budget}")
    known = np.isfinite(sigma) & (sigma > 0)
    if not known[low < high].all():
        place = int(np.argmax(~known & (low < high)))
        raise DataError(f"a symbol of unknown volatility needs equal bounds, was free in place {place}")
    risk = np.where(known, sigma, 0.0)
    hessian = risk_aversion * (risk[:, None] * correlation * risk[None, :])
    metric = np.where(known, risk_aversion * risk**2 * _largest_eigenvalue_bound(correlation), _UNSEEN_CURVATURE)
    bounds = (low, high, budget)
    weights, iterations = _descend((mu, hessian, metric), previous, cost, bounds, (tolerance, max_iterations))
    return weights, int(iterations)


@numba.njit(cache=True)
def _largest_eigenvalue_bound(matrix: FloatArray) -> float:
    """Largest absolute row sum: at least the spectral radius."""
    largest = 0.0
    for i in range(len(matrix)):
        total = 0.0
        for j in range(len(matrix)):
            total += abs(matrix[i, j])
        largest = max(largest, total)
    return largest


@numba.njit(cache=True)
def _clipped(step: Step, bounds: Bounds, multiplier: float, out: FloatArray) -> tuple[float, float]:
    """Write the minimiser for one multiplier of the budget into `out`; return its sum and the sum's slope."""
    target, previous, metric, cost = step
    low, high, _ = bounds
    total, slope = 0.0, 0.0
    for i in range(len(target)):
        away = target[i] - multiplier / metric[i] - previous[i]
        threshold = cost[i] / metric[i]
        moving = abs(away) > threshold
        weight = previous[i] + (away - np.copysign(threshold, away) if moving else 0.0)
        if weight <= low[i]:
            weight = low[i]
        elif weight >= high[i]:
            weight = high[i]
        elif moving:
            slope -= 1.0 / metric[i]
        out[i] = weight
        total += weight
    return total, slope


@numba.njit(cache=True)
def _proximal(step: Step, bounds: Bounds, guess: float, out: FloatArray) -> float:
    """Exact proximal step into `out`; returns the multiplier of the budget (0 when it does not bind).

    The sum of weights falls with the multiplier, piecewise linearly: Newton inside a bracket, bisection where
    the slope is zero or the step leaves the bracket.
    """
    target, _, metric, cost = step
    low, _, budget = bounds
    total, slope = _clipped(step, bounds, 0.0, out)
    if total <= budget:
        return 0.0
    lower, upper = 0.0, 0.0
    for i in range(len(target)):
        upper = max(upper, metric[i] * (target[i] - low[i]) + cost[i])  # here every weight is at its lower bound
    multiplier = guess if guess > 0.0 else (budget - total) / min(slope, -1e-300)
    for _ in range(_MULTIPLIER_STEPS):
        if not lower < multiplier < upper:
            multiplier = 0.5 * (lower + upper)
        total, slope = _clipped(step, bounds, multiplier, out)
        excess = total - budget
        if abs(excess) <= _BUDGET_ERROR or not lower < multiplier < upper:
            break
        if excess > 0.0:
            lower = multiplier
        else:
            upper = multiplier
        multiplier = multiplier - excess / slope if slope < 0.0 else 0.5 * (lower + upper)
    if total > budget + _BUDGET_ERROR:
        _clipped(step, bounds, upper, out)
    return multiplier


@numba.njit(cache=True)
def _descend(
    problem: tuple[FloatArray, FloatArray, FloatArray],
    previous: FloatArray,
    cost: FloatArray,
    bounds: Bounds,
    limits: tuple[float, int],
) -> tuple[FloatArray, int]:
    """Accelerated proximal gradient from the previous weights."""
    mu, hessian, metric = problem
    tolerance, max_iterations = limits
    n = len(mu)
    weights, target, found = np.empty(n), np.empty(n), np.empty(n)
    multiplier = _proximal((previous, previous, metric, np.zeros(n)), bounds, 0.0, weights)
    ahead = weights.copy()
    momentum = 1.0
    for iteration in range(1, max_iterations + 1):
        for i in range(n):
            gradient = -mu[i]
            for j in range(n):
                gradient += hessian[i, j] * ahead[j]
            target[i] = ahead[i] - gradient / metric[i]
        multiplier = _proximal((target, previous, metric, cost), bounds, multiplier, found)
        moved, uphill = 0.0, 0.0
        for i in range(n):
            moved = max(moved, abs(found[i] - ahead[i]))
            uphill += metric[i] * (ahead[i] - found[i]) * (found[i] - weights[i])
        if moved <= tolerance:
            return found, iteration
        if uphill > 0.0:
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum))
        for i in range(n):
            ahead[i] = found[i] + (momentum - 1.0) / following * (found[i] - weights[i])
            weights[i] = found[i]
        momentum = following
    return weights, max_iterations
