"""The decision of one bar, from forecasts to orders: tiers 4 to 7 in a row, as pure functions.

The live chain runs the same four steps one task at a time; the backtest runs them in one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tiers.backtest.shipped import BUILT_IN
from tiers.contracts import (
    BookView,
    FloatArray,
    Forecast,
    MarketContext,
    RiskDecision,
    StrategicView,
    Switches,
    TargetWeights,
    VolatilityForecast,
)
from tiers.contracts.parameters import PipelineParams
from tiers.contracts.plans import Plan
from tiers.contracts.protocols import Tiers
from trading.market.lots import Lot


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionInputs:
    """What is known at the close of the bar."""

    forecast: Forecast
    volatility: VolatilityForecast
    returns: FloatArray  # (n_window, n_symbols) of `contracts.returns.window_returns`, ending at the bar
    context: MarketContext
    book: BookView
    lots: Mapping[str, Lot]
    key: str  # what makes the order ids of this book its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What each tier said. `risk` is before the analyst's view, `bounded` after it."""

    risk: RiskDecision
    view: StrategicView
    bounded: RiskDecision
    targets: TargetWeights
    plan: Plan


def decide_bar(inputs: DecisionInputs, params: PipelineParams, switches: Switches, tiers: Tiers = BUILT_IN) -> Decision:
    """Tiers 4 to 7 on one bar."""
    risk = risk_step(inputs, params, switches, tiers)
    view = llm_step(inputs.context, switches, tiers)
    bounded = tiers.llm.enforce(risk, view, switches)
    targets = portfolio_step(inputs, bounded, params, tiers)
    return Decision(
        risk=risk,
        view=view,
        bounded=bounded,
        targets=targets,
        plan=execute_step(inputs, risk, targets, params, tiers),
    )


def risk_step(
    inputs: DecisionInputs, params: PipelineParams, switches: Switches, tiers: Tiers = BUILT_IN
) -> RiskDecision:
    """Tier 4: sizes, bounds, leverage and the next trading state."""
    return tiers.risk.run(
        forecast=inputs.forecast,
        volatility=inputs.volatility,
        book=inputs.book,
        returns=inputs.returns,
        switches=switches,
        params=params.risk,
    )


def llm_step(context: MarketContext, switches: Switches, tiers: Tiers = BUILT_IN) -> StrategicView:
    """Tier 5: the analyst's view; neutral while `llm_strategic_analysis` is off."""
    if not switches.llm_strategic_analysis:
        return StrategicView.neutral(context.bar_ts, provider="off", reasoning="llm_strategic_analysis is off")
    return tiers.llm.run(context)


def portfolio_step(
    inputs: DecisionInputs, bounded: RiskDecision, params: PipelineParams, tiers: Tiers = BUILT_IN
) -> TargetWeights:
    """Tier 6: target weights inside the bounds that the view may have moved."""
    limits = params.portfolio.held_for(inputs.forecast.horizon_bars)
    return tiers.portfolio.run(risk=bounded, returns=inputs.returns, book=inputs.book, params=limits)


def execute_step(
    inputs: DecisionInputs,
    risk: RiskDecision,
    targets: TargetWeights,
    params: PipelineParams,
    tiers: Tiers = BUILT_IN,
) -> Plan:
    """Tier 7: orders; the book is already in the state that the risk tier has just decided."""
    return tiers.execute.run(
        targets=targets,
        book=replace(inputs.book, state=risk.state),
        lots=inputs.lots,
        params=params.execute,
        key=inputs.key,
    )
