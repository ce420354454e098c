"""The part of the suite `risk` that speaks of the strategic analyst: `run(context)` to a view within its schema."""

from __future__ import annotations

import math
from typing import Any

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import Stance, StrategicView
from tiers.gates import assertions, inputs

MAX_MULTIPLIER, MAX_REASONING = 1.5, 1_000
FIELDS = ("bar_ts", "provider", "stance", "conviction", "risk_multiplier", "reasoning", "usage")

__all__ = ["TESTS"]


def _views(candidate: Candidate, seed: int) -> list[StrategicView]:
    """Views of every regime, of extremes and of a market of which nothing is known."""
    changes: list[dict[str, Any]] = [{"regime": regime} for regime in inputs.REGIMES]
    changes += [{"regime": regime, "drawdown": 0.95} for regime in inputs.REGIMES]
    changes += [
        {"regime": "turbulent", "volatility_ratio": 40.0},
        {"regime": "trending_up", "trend": 25.0, "breadth": 1.0, "mean_edge": 0.9},
        {"regime": "trending_down", "trend": -25.0, "breadth": 0.0, "mean_edge": -0.9},
        {"regime": "ranging", "mean_edge": math.nan},
    ]
    return [_view(candidate, seed + offset, **change) for offset, change in enumerate(changes)]


def _view(candidate: Candidate, seed: int, **changes: Any) -> StrategicView:
    view: StrategicView = candidate.run(inputs.context(seed, **changes))
    assertions.fields(view, FIELDS, "a strategic view")
    return view


def the_view_speaks_of_its_bar(candidate: Candidate, seed: int) -> None:
    for view in _views(candidate, seed):
        require(view.bar_ts == inputs.BAR_TS, f"the view must be of the bar {inputs.BAR_TS}, was of {view.bar_ts}")
        known = isinstance(view.provider, str) and view.provider
        require(known, f"the view must name its provider, was {view.provider!r}")


def the_multiplier_is_from_0_to_1_5(candidate: Candidate, seed: int) -> None:
    for view in _views(candidate, seed):
        ok = math.isfinite(view.risk_multiplier) and 0.0 <= view.risk_multiplier <= MAX_MULTIPLIER
        require(ok, f"risk_multiplier must be from 0 to {MAX_MULTIPLIER}, was {view.risk_multiplier}")


def conviction_is_from_0_to_1(candidate: Candidate, seed: int) -> None:
    for view in _views(candidate, seed):
        ok = math.isfinite(view.conviction) and 0.0 <= view.conviction <= 1.0
        require(ok, f"conviction must be from 0 to 1, was {view.conviction}")


def the_stance_is_a_known_one(candidate: Candidate, seed: int) -> None:
    for view in _views(candidate, seed):
        known = any(view.stance == stance for stance in Stance)
        require(known, f"stance must be one of {', '.join(Stance)}, was {view.stance!r}")


def the_reasoning_is_a_bounded_text(candidate: Candidate, seed: int) -> None:
    for view in _views(candidate, seed):
        ok = isinstance(view.reasoning, str) and 0 < len(view.reasoning) <= MAX_REASONING
        require(ok, f"reasoning must be a text of 1 to {MAX_REASONING} characters, was {view.reasoning!r:.60}")


def a_deep_drawdown_asks_for_no_more_risk(candidate: Candidate, seed: int) -> None:
    for regime in inputs.REGIMES:
        view = _view(candidate, seed, regime=regime, drawdown=0.5)
        require(
            view.risk_multiplier <= 1.0,
            f"with half the equity lost the view must not ask for more risk, {regime} gave {view.risk_multiplier:g}",
        )


def an_unknown_market_asks_for_no_more_risk(candidate: Candidate, seed: int) -> None:
    view = _view(candidate, seed, regime="unknown")
    require(
        view.risk_multiplier <= 1.0,
        f"a market of which nothing is known must not ask for more risk, it gave {view.risk_multiplier:g}",
    )


def turbulence_asks_for_less_risk(candidate: Candidate, seed: int) -> None:
    view = _view(candidate, seed, regime="turbulent", volatility_ratio=4.0, drawdown=0.0)
    require(
        view.risk_multiplier < 1.0,
        f"four times the typical volatility should ask for less risk, it gave {view.risk_multiplier:g}",
    )


def the_stance_fits_the_multiplier(candidate: Candidate, seed: int) -> None:
    for view in _views(candidate, seed):
        odd = (view.stance == Stance.RISK_OFF and view.risk_multiplier > 1.0) or (
            view.stance == Stance.RISK_ON and view.risk_multiplier < 1.0
        )
        require(not odd, f"{view.stance} should not go with a multiplier of {view.risk_multiplier:g}")


_ALL = (
    ("the view speaks of its bar", the_view_speaks_of_its_bar, True),
    ("the multiplier is from 0 to 1.5", the_multiplier_is_from_0_to_1_5, True),
    ("conviction is from 0 to 1", conviction_is_from_0_to_1, True),
    ("the stance is a known one", the_stance_is_a_known_one, True),
    ("the reasoning is a bounded text", the_reasoning_is_a_bounded_text, True),
    ("a deep drawdown asks for no more risk", a_deep_drawdown_asks_for_no_more_risk, True),
    ("an unknown market asks for no more risk", an_unknown_market_asks_for_no_more_risk, True),
    ("turbulence asks for less risk", turbulence_asks_for_less_risk, False),
    ("the stance fits the multiplier", the_stance_fits_the_multiplier, False),
)
TESTS = tuple(
    GateTest(name=name, function=function, required=required, contracts=("llm",)) for name, function, required in _ALL
)
