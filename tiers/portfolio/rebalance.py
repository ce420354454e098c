"""From the risk decision to target weights: bounds, optimum, no-trade band, turnover limit, tail loss, rounding."""

from __future__ import annotations

import math

import numpy as np

from tiers.contracts import BookView, Denial, FloatArray, RiskDecision, TargetWeights, TradingState, tail
from tiers.contracts.ended import most_in_all
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import PortfolioParams
from tiers.contracts.weights import quantised
from tiers.portfolio.covariance import shrunk_correlation
from tiers.portfolio.optimise import solve

METHOD = "mean_variance"


def rebalance(*, risk: RiskDecision, returns: FloatArray, book: BookView, params: PortfolioParams) -> TargetWeights:
    """Target weights of one bar, long-only.

    `returns` is (n_window, n_symbols) as `window_returns` gives it, ending at the bar. No tradable symbol is
    raised above min(max_weight, size), nor the sum above the leverage bound. Where prices have carried a
    weight or the sum above its bound by less than `min_weight_change`, the drift is left alone; a larger
    breach is reduced in full and at once. Beyond such demanded reductions the turnover stays at or below its
    limit. Then the symbols that give way to `tail` do so, as far as they can; where the loss of the worst bars
    is not known, they are not raised. Symbols without a bar keep their weight, and so do those of unknown
    volatility within the bounds. REDUCING only shrinks, HALTED keeps all. `DataError` when the symbols differ.
    """
    if risk.symbols != book.symbols or returns.shape[1:] != (len(book.symbols),):
        raise DataError(
            f"risk, book and returns must speak of the same symbols, were {risk.symbols}, {book.symbols} "
            f"and an array of shape {returns.shape}"
        )
    previous = book.weights
    if risk.state is TradingState.HALTED:
        return _kept(risk, previous, "halted")
    low, high = _bounds(risk, book, previous, params.min_weight_change)
    most = most_in_all(risk.leverage, previous, book.has_ended)
    budget = _budget(most, low, np.minimum(np.maximum(previous, low), high), params.min_weight_change)
    demanded = _demanded(previous, low, high, budget)
    # What no risk can be named for is held where the limits leave it: the optimiser may not choose it.
    unknown = ~np.isfinite(risk.sigma) & book.tradable
    low, high = np.where(unknown, demanded, low), np.where(unknown, demanded, high)
    wanted = _optimum(risk, returns, previous, (low, high, budget), params)
    wanted = _outside_band(wanted, demanded, budget, params.min_weight_change)
    weights, denials = _within_turnover(wanted, demanded, previous, params.max_turnover)
    weights, tail_denials = _within_tail(weights, risk, returns, book)
    return _targets(risk, previous, weights, denials + tail_denials)


def _bounds(risk: RiskDecision, book: BookView, previous: FloatArray, drift: float) -> tuple[FloatArray, FloatArray]:
    """Lower and upper bound of every weight; equal where there is no bar to trade at."""
    cap = np.minimum(risk.max_weight, risk.size)
    cap = np.where((previous > cap) & (previous < cap + drift), previous, cap)
    if risk.state is TradingState.REDUCING:
        cap = np.minimum(cap, np.maximum(previous, 0.0))
    return np.where(book.tradable, 0.0, previous), np.where(book.tradable, cap, previous)


def _budget(most: float, low: FloatArray, inside: FloatArray, drift: float) -> float:
    """Upper bound on the sum of weights, never below what may not be sold; shorts that are kept use it up."""
    budget = most - 2.0 * float(np.maximum(-low, 0.0).sum())
    held = float(inside.sum())
    if budget < held < budget + drift:
        return held
    return max(budget, float(low.sum()))


def _demanded(previous: FloatArray, low: FloatArray, high: FloatArray, budget: float) -> FloatArray:
    """The previous weights brought inside the bounds and the budget by proportional reduction."""
    inside = np.minimum(np.maximum(previous, low), high)
    spare = inside - low
    excess = float(inside.sum()) - budget
    if excess <= 0.0:
        return inside
    out: FloatArray = inside - spare * min(1.0, excess / float(spare.sum()))
    return out


def _optimum(
    risk: RiskDecision,
    returns: FloatArray,
    previous: FloatArray,
    bounds: tuple[FloatArray, FloatArray, float],
    params: PortfolioParams,
) -> FloatArray:
    """The optimum over one bar of the book, in which a symbol on another calendar has its own number of bars."""
    low, high, budget = bounds
    own_bars = np.array([params.own_bars.get(symbol, 1.0) for symbol in risk.symbols])
    correlation, _ = shrunk_correlation(returns, params.min_history)
    weights, _ = solve(
        mu=risk.expected_return * own_bars,
        sigma=risk.sigma * np.sqrt(own_bars),
        correlation=correlation,
        previous=previous,
        low=low,
        high=high,
        budget=budget,
        risk_aversion=params.risk_aversion,
        cost=params.cost_per_bar * own_bars,
        tolerance=params.tolerance,
        max_iterations=params.max_iterations,
    )
    return weights


def _outside_band(wanted: FloatArray, start: FloatArray, budget: float, band: float) -> FloatArray:
    """Undo changes smaller than `band`, except exits; then take what the budget lacks from the increases."""
    change = wanted - start
    small = (np.abs(change) < band) & ~((wanted == 0.0) & (start > 0.0))
    change = np.where(small, 0.0, change)
    excess = float((start + change).sum()) - budget
    if excess > 0.0:
        rises = np.maximum(change, 0.0)
        total = float(rises.sum())
        if total > 0.0:
            change = change - rises * min(1.0, excess / total)
    out: FloatArray = start + change
    return out


def _within_turnover(
    wanted: FloatArray, demanded: FloatArray, previous: FloatArray, limit: float
) -> tuple[FloatArray, tuple[Denial, ...]]:
    """Move from the demanded weights towards the wanted ones as far as the turnover limit allows."""
    asked = float(np.abs(wanted - previous).sum())
    if asked <= limit:
        return wanted, ()
    optional = float(np.abs(wanted - demanded).sum())
    spare = max(0.0, limit - float(np.abs(demanded - previous).sum()))
    part = min(1.0, spare / optional) if optional > 0.0 else 0.0
    denial = Denial(code="TURNOVER_ABOVE_LIMIT", observed=asked, limit=limit)
    return demanded + part * (wanted - demanded), (denial,)


def _within_tail(
    weights: FloatArray, risk: RiskDecision, returns: FloatArray, book: BookView
) -> tuple[FloatArray, tuple[Denial, ...]]:
    """Bring the symbols that give way down, in proportion, until the worst bars of the book lose no more than they may.

    Where that loss is not known they stay at or below what is held.
    """
    limit = risk.tail
    if limit is None:
        return weights, ()
    gives = np.array([symbol in limit.symbols for symbol in risk.symbols]) & book.tradable & (weights > 0.0)
    loss = tail.loss(returns, weights, limit)
    if loss <= limit.max_cvar or not gives.any():
        return weights, ()
    unknown = math.isnan(loss)
    if unknown:
        out = np.where(gives, np.minimum(weights, np.maximum(book.weights, 0.0)), weights)
    else:
        out = tail.nearest(weights, np.where(gives, 0.0, weights), returns, limit)
    denials = tuple(
        Denial(
            code="CVAR_UNKNOWN" if unknown else "CVAR_ABOVE_LIMIT",
            observed=1.0 if unknown else loss,
            limit=0.0 if unknown else limit.max_cvar,
            symbol=risk.symbols[j],
        )
        for j in np.flatnonzero(gives)
    )
    return out, denials


def _targets(
    risk: RiskDecision, previous: FloatArray, weights: FloatArray, denials: tuple[Denial, ...]
) -> TargetWeights:
    target = quantised(weights)
    if (target == quantised(previous)).all():
        return _kept(risk, previous, "no_change", denials)
    return TargetWeights(
        bar_ts=risk.bar_ts,
        symbols=risk.symbols,
        weights=target,
        previous=previous,
        turnover=float(np.abs(target - previous).sum()),
        method=METHOD,
        reason="reducing" if risk.state is TradingState.REDUCING else "rebalance",
        denials=denials,
    )


def _kept(risk: RiskDecision, previous: FloatArray, reason: str, denials: tuple[Denial, ...] = ()) -> TargetWeights:
    return TargetWeights(
        bar_ts=risk.bar_ts,
        symbols=risk.symbols,
        weights=quantised(previous),
        previous=previous,
        turnover=0.0,
        method=METHOD,
        reason=reason,
        denials=denials,
    )
