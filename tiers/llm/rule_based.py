"""The rule-based analyst: no network, no key, the same answer every time, and a sentence that says why."""

from __future__ import annotations

import math

from tiers.contracts import MarketContext, Stance, StrategicView

PROVIDER = "rules"
DEEP_DRAWDOWN = 0.15
BROAD, NARROW = 0.6, 0.4  # shares of symbols above their slow average


def analyse(context: MarketContext) -> StrategicView:
    """Stance, conviction and risk multiplier from the context's figures alone.

    A deep drawdown or turbulence asks for less risk, in proportion; a trend that most symbols and the
    forecasts share asks for more, up to 1.25; an unknown regime leaves all as it is.
    """
    if context.regime == "unknown":
        return StrategicView.neutral(
            context.bar_ts,
            provider=PROVIDER,
            reasoning="Too little history for a view: risk is left as it is.",
        )
    if context.drawdown >= DEEP_DRAWDOWN:
        return _view(context, Stance.RISK_OFF, min(1.0, context.drawdown / 0.3), 0.5, _drawdown(context))
    if context.regime == "turbulent":
        conviction = min(1.0, context.volatility_ratio / 3.0)
        return _view(context, Stance.RISK_OFF, conviction, 1.0 / context.volatility_ratio, _turbulent(context))
    if context.regime == "trending_up" and context.breadth >= BROAD and context.mean_edge > 0:
        conviction = min(1.0, abs(context.trend) / 2.0)
        return _view(context, Stance.RISK_ON, conviction, 1.0 + 0.25 * conviction, _trend(context, "up"))
    if context.regime == "trending_down" and context.breadth <= NARROW:
        conviction = min(1.0, abs(context.trend) / 2.0)
        return _view(context, Stance.RISK_OFF, conviction, 1.0 - 0.4 * conviction, _trend(context, "down"))
    return _view(context, Stance.NEUTRAL, 0.3, 1.0, _mixed(context))


def _view(
    context: MarketContext, stance: Stance, conviction: float, multiplier: float, reasoning: str
) -> StrategicView:
    return StrategicView(
        bar_ts=context.bar_ts,
        provider=PROVIDER,
        stance=stance,
        conviction=round(conviction, 6),
        risk_multiplier=round(multiplier, 6),
        reasoning=reasoning,
    )


def _drawdown(context: MarketContext) -> str:
    return (
        f"The book is {context.drawdown:.1%} below its peak, at or over the limit of {DEEP_DRAWDOWN:.0%}: "
        "halve the risk."
    )


def _turbulent(context: MarketContext) -> str:
    return f"Volatility is {context.volatility_ratio:.2f} times its typical level: risk is cut in the same proportion."


def _trend(context: MarketContext, direction: str) -> str:
    change = "more" if direction == "up" else "less"
    return (
        f"The market trends {direction} by {abs(context.trend):.2f} typical volatilities and "
        f"{context.breadth:.0%} of the symbols are above their slow average: take {change} risk."
    )


def _mixed(context: MarketContext) -> str:
    edge = "unknown" if math.isnan(context.mean_edge) else f"{context.mean_edge:+.3f}"
    return (
        f"The regime is {context.regime.replace('_', ' ')} with {context.breadth:.0%} of the symbols above "
        f"their slow average and a mean edge of {edge}: nothing calls for a change."
    )
