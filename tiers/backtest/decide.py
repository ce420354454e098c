"""The decision of one bar, from forecasts to orders: tiers 4 to 7 in a row, as one pure function.

The live chain asks the same tiers, one task at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

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


def decide_bar(inputs: DecisionInputs, params: PipelineParams, switches: Switches, tiers: Tiers) -> Decision:
    """Tiers 4 to 7 on one bar; the analyst is neutral while `llm_strategic_analysis` is off."""
    risk = tiers.risk.run(
        forecast=inputs.forecast,
        volatility=inputs.volatility,
        book=inputs.book,
        returns=inputs.returns,
        switches=switches,
        params=params.risk,
    )
    off = "llm_strategic_analysis is off"
    view = (
        tiers.llm.run(inputs.context)
        if switches.llm_strategic_analysis
        else StrategicView.neutral(inputs.context.bar_ts, provider="off", reasoning=off)
    )
    bounded = tiers.llm.enforce(risk, view, switches)
    limits = params.portfolio.held_for(inputs.forecast.horizon_bars)
    targets = tiers.portfolio.run(risk=bounded, returns=inputs.returns, book=inputs.book, params=limits)
    plan = tiers.execute.run(
        targets=targets,
        book=replace(inputs.book, state=risk.state),  # which the risk tier has just decided
        lots=inputs.lots,
        params=params.execute,
        key=inputs.key,
    )
    return Decision(risk=risk, view=view, bounded=bounded, targets=targets, plan=plan)
