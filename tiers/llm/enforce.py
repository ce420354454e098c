"""What a strategic view may change in a risk decision: the leverage bound, within fixed limits."""

from __future__ import annotations

from dataclasses import replace

from tiers.contracts import MAX_RISK_MULTIPLIER, RiskDecision, StrategicView, Switches, TradingState
from tiers.contracts.errors import Rejected

UNBORROWED = 1.0  # a view may use capital that lies idle, it may not borrow any


def enforce(risk: RiskDecision, view: StrategicView, switches: Switches) -> RiskDecision:
    """The risk decision with its leverage bound scaled by the view.

    Unchanged while `llm_strategic_analysis` or `llm_enhanced_decisions` is off. A multiplier above 1 counts
    only for an ACTIVE book, and never lifts the bound above 1 unless the risk engine already allowed more.
    Sizes, weight bounds, state and denials are the risk engine's alone. `Rejected` for a view of another bar
    or a multiplier outside 0 to 1.5.
    """
    if view.bar_ts != risk.bar_ts:
        raise Rejected(f"the view must speak of the bar of {risk.bar_ts}, was of {view.bar_ts}")
    if not 0.0 <= view.risk_multiplier <= MAX_RISK_MULTIPLIER:
        raise Rejected(f"risk_multiplier must be from 0 to {MAX_RISK_MULTIPLIER}, was {view.risk_multiplier}")
    if not (switches.llm_strategic_analysis and switches.llm_enhanced_decisions) or view.risk_multiplier == 1.0:
        return risk
    leverage = risk.leverage * view.risk_multiplier
    if view.risk_multiplier > 1.0:
        ceiling = max(risk.leverage, UNBORROWED) if risk.state is TradingState.ACTIVE else risk.leverage
        leverage = min(leverage, ceiling)
    return replace(risk, leverage=leverage)
