"""The loss of a book's worst bars, and weights that keep it within its limit."""

from __future__ import annotations

import math

import numpy as np

from tiers.contracts.messages import FloatArray, TailLimit

_HALVINGS = 40


def historical_cvar(returns: FloatArray, weights: FloatArray, *, confidence: float, min_history: int) -> float:
    """Mean loss of the worst bars of the weighted book over the window, as a positive fraction of equity.

    The worst (1 - confidence) of the rows, at least one (Rockafellar and Uryasev, 2000, for equal
    probabilities). `returns` is (n_window, n_symbols); rows where a symbol with weight has no return are left
    out. 0 without weights, NaN with fewer than `min_history` rows.
    """
    held = weights != 0.0
    if not held.any():
        return 0.0
    book = returns[:, held] @ weights[held]
    book = book[np.isfinite(book)]
    if len(book) < min_history:
        return math.nan
    n_worst = max(1, math.floor((1.0 - confidence) * len(book) + 1e-9))
    worst = np.sort(book)[:n_worst]
    return max(0.0, -float(worst.mean()))


def loss(returns: FloatArray, weights: FloatArray, limit: TailLimit) -> float:
    """`historical_cvar` as the limit counts it."""
    return historical_cvar(returns, weights, confidence=limit.confidence, min_history=limit.min_history)


def nearest(wanted: FloatArray, fallback: FloatArray, returns: FloatArray, limit: TailLimit) -> FloatArray:
    """The last weights on the way from `fallback` to `wanted` whose loss is within the limit, or no more than its own.

    A loss that is not known counts as above the limit.
    """
    allowed = max(limit.max_cvar, loss(returns, fallback, limit))  # the first where the second is NaN
    if loss(returns, wanted, limit) <= allowed:
        return wanted
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        part = 0.5 * (low + high)
        inside = loss(returns, fallback + part * (wanted - fallback), limit) <= allowed
        low, high = (part, high) if inside else (low, part)
    out: FloatArray = fallback + low * (wanted - fallback)
    return out
