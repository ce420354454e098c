"""Two arms, one book: the challenger's symbols are taken from its answer, all others from the champion's.

Pure. Limits of the whole book are checked again on the mixture, and what breaks them is taken from the challenger.
Where both arms say the same, the result is the champion's answer bit by bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from tiers.contracts import (
    BookView,
    BoolArray,
    Denial,
    FloatArray,
    Forecast,
    RiskDecision,
    TargetWeights,
    TradingState,
    VolatilityForecast,
    tail,
)
from tiers.contracts.ended import most_in_all
from tiers.contracts.parameters import PortfolioParams, RiskParams
from tiers.contracts.weights import quantised
from trading.enums import SEVERITY


def mask(symbols: Sequence[str], served: Collection[str]) -> BoolArray:
    """(n_symbols,) which symbols the challenger serves."""
    return np.array([symbol in served for symbol in symbols], dtype=bool)


def forecasts(champion: Forecast, challenger: Forecast, served: Collection[str]) -> Forecast:
    """The champion's forecast with the challenger's rows in the places of its symbols."""
    mine = mask(champion.symbols, served)
    names = zip(mine.tolist(), challenger.model_names, champion.model_names, strict=True)
    horizons = zip(mine.tolist(), challenger.horizon_bars, champion.horizon_bars, strict=True)
    return replace(
        champion,
        probability=np.where(mine[:, None], challenger.probability, champion.probability),
        horizon_bars=tuple(other if chosen else own for chosen, other, own in horizons),
        model_names=tuple(other if chosen else own for chosen, other, own in names),
    )


def volatilities(
    champion: VolatilityForecast, challenger: VolatilityForecast, served: Collection[str]
) -> VolatilityForecast:
    """The champion's volatilities with the challenger's in the places of its symbols."""
    mine = mask(champion.symbols, served)
    methods = zip(mine.tolist(), challenger.methods, champion.methods, strict=True)
    return replace(
        champion,
        sigma=np.where(mine, challenger.sigma, champion.sigma),
        methods=tuple(other if chosen else own for chosen, other, own in methods),
    )


def risks(
    champion: RiskDecision, challenger: RiskDecision, served: Collection[str], params: RiskParams
) -> RiskDecision:
    """Sizes and bounds by symbol, the challenger's never above the book's own `max_weight`.

    Leverage and trading state speak of the whole book: they are the champion's until the challenger serves every
    symbol. Even then the leverage stays at or below `max_leverage`, and the more careful of both states holds.
    """
    mine = mask(champion.symbols, served)
    bound = np.minimum(challenger.max_weight, np.maximum(params.max_weight, champion.max_weight))
    leverage, state = champion.leverage, champion.state
    if mine.all():
        leverage = min(challenger.leverage, max(params.max_leverage, champion.leverage))
        state = max(champion.state, challenger.state, key=SEVERITY.index)
    return replace(
        champion,
        sigma=np.where(mine, challenger.sigma, champion.sigma),
        expected_return=np.where(mine, challenger.expected_return, champion.expected_return),
        size=np.where(mine, challenger.size, champion.size),
        max_weight=np.where(mine, bound, champion.max_weight),
        leverage=leverage,
        state=state,
        denials=denials(champion.denials, challenger.denials, served),
    )


def targets(
    champion: TargetWeights,
    challenger: FloatArray,
    served: Collection[str],
    *,
    risk: RiskDecision,
    returns: FloatArray,
    book: BookView,
    params: PortfolioParams,
    refused: Sequence[Denial] = (),
) -> TargetWeights:
    """Target weights by symbol; `challenger` is (n_symbols,) of wanted weights, `refused` its denials.

    A challenger's weight is cut to the bound of its symbol. Where the sum is above the leverage bound, the loss of the
    worst bars or the turnover above its limit, what the challenger wants beyond the champion is scaled down: the
    champion's own targets keep every limit, so the limits can always be met. Symbols without a bar and a HALTED book
    stay with the champion.
    """
    if risk.state is TradingState.HALTED:
        return champion
    mine = mask(champion.symbols, served) & book.tradable
    wanted = np.where(mine, _inside(challenger, champion.previous, risk, params.min_weight_change), champion.weights)
    said = denials(champion.denials, refused, served)
    if np.array_equal(wanted, champion.weights):
        return replace(champion, denials=said)
    most = most_in_all(risk.leverage, champion.previous, book.has_ended)
    wanted = _within_budget(wanted, champion.weights, max(most, float(champion.weights.sum())))
    wanted = _within_tail(wanted, champion.weights, risk, returns)
    wanted = _within_turnover(wanted, champion, max(params.max_turnover, champion.turnover))
    weights = np.where(wanted == champion.weights, champion.weights, quantised(wanted))
    changed = not np.array_equal(weights, quantised(champion.previous))
    return replace(
        champion,
        weights=weights,
        turnover=float(np.abs(weights - champion.previous).sum()) if changed else 0.0,
        reason=_reason(risk, changed=changed),
        denials=said,
    )


def _inside(wanted: FloatArray, previous: FloatArray, risk: RiskDecision, drift: float) -> FloatArray:
    """Weights of 0 to the bound of their symbol; what drifted over it by less than `drift` may stay."""
    drifted = (previous > risk.max_weight) & (previous < risk.max_weight + drift)
    cap = np.where(drifted, previous, risk.max_weight)
    if risk.state is TradingState.REDUCING:
        cap = np.minimum(cap, np.maximum(previous, 0.0))
    out: FloatArray = np.minimum(np.maximum(wanted, 0.0), cap)
    return out


def _within_budget(wanted: FloatArray, fallback: FloatArray, budget: float) -> FloatArray:
    """Take from what is wanted above the fallback, in proportion, what the sum has too much."""
    above = np.maximum(wanted - fallback, 0.0)
    excess, total = float(wanted.sum()) - budget, float(above.sum())
    if excess <= 0.0 or total <= 0.0:
        return wanted
    out: FloatArray = wanted - above * min(1.0, excess / total)
    return out


def _within_tail(wanted: FloatArray, fallback: FloatArray, risk: RiskDecision, returns: FloatArray) -> FloatArray:
    """Take from what is wanted above the fallback, in the symbols that give way, what the worst bars lose too much."""
    if risk.tail is None:
        return wanted
    least = np.where(mask(risk.symbols, risk.tail.symbols), np.minimum(wanted, fallback), wanted)
    return tail.nearest(wanted, least, returns, risk.tail)


def _within_turnover(wanted: FloatArray, champion: TargetWeights, limit: float) -> FloatArray:
    """Move from the champion's weights towards the wanted ones as far as the turnover allows (it is convex)."""
    asked = float(np.abs(wanted - champion.previous).sum())
    if asked <= limit:
        return wanted
    base = float(np.abs(champion.weights - champion.previous).sum())
    part = max(0.0, (limit - base) / (asked - base)) if asked > base else 1.0
    out: FloatArray = champion.weights + part * (wanted - champion.weights)
    return out


def _reason(risk: RiskDecision, *, changed: bool) -> str:
    if not changed:
        return "no_change"
    return "reducing" if risk.state is TradingState.REDUCING else "rebalance"


def denials(champion: Sequence[Denial], challenger: Sequence[Denial], served: Collection[str]) -> tuple[Denial, ...]:
    """The champion's refusals of the book and of its symbols, then the challenger's of its own.

    In the champion's order where both refuse the same.
    """
    theirs = [denial for denial in challenger if denial.symbol in served]
    if [denial for denial in champion if denial.symbol in served] == theirs:
        return tuple(champion)
    return (*(denial for denial in champion if denial.symbol not in served), *theirs)


__all__ = ["denials", "forecasts", "mask", "risks", "targets", "volatilities"]
