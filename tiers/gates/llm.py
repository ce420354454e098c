"""The part of the suite `risk` that speaks of the strategic analyst: `run(context)` to a view within its schema."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from helios.modules.suites import Candidate, GateTest, require
from helios.modules.suites.equality import difference
from tiers.contracts import (
    MAX_RISK_MULTIPLIER,
    BarsByTimeframe,
    MarketContext,
    Stance,
    StrategicView,
    Switches,
    shortest,
)
from tiers.contracts.feature_sets import until
from tiers.contracts.parameters import PipelineParams
from tiers.gates import assertions, completeness, samples

MAX_REASONING = 1_000
CONTEXT = ("bar_ts", "symbols", "regime", "trend", "volatility_ratio", "breadth", "mean_edge", "drawdown")
FIELDS = ("bar_ts", "provider", "stance", "conviction", "risk_multiplier", "reasoning", "usage")

__all__ = ["TESTS"]


def _views(candidate: Candidate, seed: int) -> list[StrategicView]:
    """Views of every regime, of extremes and of a market of which nothing is known."""
    changes: list[dict[str, Any]] = [{"regime": regime} for regime in samples.REGIMES]
    changes += [{"regime": regime, "drawdown": 0.95} for regime in samples.REGIMES]
    changes += [
        {"regime": "turbulent", "volatility_ratio": 40.0},
        {"regime": "trending_up", "trend": 25.0, "breadth": 1.0, "mean_edge": 0.9},
        {"regime": "trending_down", "trend": -25.0, "breadth": 0.0, "mean_edge": -0.9},
        {"regime": "ranging", "mean_edge": math.nan},
    ]
    return [_view(candidate, seed + offset, **change) for offset, change in enumerate(changes)]


def _view(candidate: Candidate, seed: int, **changes: Any) -> StrategicView:
    view: StrategicView = candidate.run(samples.context(seed, **changes))
    assertions.fields(view, FIELDS, "a strategic view")
    return view


def the_view_speaks_of_its_bar(candidate: Candidate, seed: int) -> None:
    for view in _views(candidate, seed):
        require(view.bar_ts == samples.BAR_TS, f"the view must be of the bar {samples.BAR_TS}, was of {view.bar_ts}")
        known = isinstance(view.provider, str) and view.provider
        require(known, f"the view must name its provider, was {view.provider!r}")


def the_multiplier_is_from_0_to_1_5(candidate: Candidate, seed: int) -> None:
    for view in _views(candidate, seed):
        ok = math.isfinite(view.risk_multiplier) and 0.0 <= view.risk_multiplier <= MAX_RISK_MULTIPLIER
        require(ok, f"risk_multiplier must be from 0 to {MAX_RISK_MULTIPLIER}, was {view.risk_multiplier}")


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
    for regime in samples.REGIMES:
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


def the_context_speaks_of_its_bar(candidate: Candidate, seed: int) -> None:
    shown = _shown(candidate, samples.by_timeframe(seed), seed)
    assertions.fields(shown, CONTEXT, "a market context")
    same = shown.bar_ts == samples.BAR_TS and shown.symbols == samples.SYMBOLS
    require(same, f"the context must be of the bar {samples.BAR_TS} and of {samples.SYMBOLS}, was of {shown.bar_ts}")
    require(isinstance(shown.regime, str) and shown.regime, f"the context must name a regime, was {shown.regime!r}")


def the_context_knows_no_future(candidate: Candidate, seed: int) -> None:
    """Nor more than the window that the module asks for."""
    market = samples.by_timeframe(seed, n_bars=1_500, whole=True)
    row = 1_400
    last = market["1h"].ts[row]
    wanted, closed = candidate.implementation.lookback_bars(PipelineParams(), "1h"), until(market, last)
    window = {name: closed[name].rows(slice(-n_bars, None)) for name, n_bars in wanted.items()}
    plain = _shown(candidate, market, seed, row)
    for what, other in (
        ("bars that come later", _shown(candidate, samples.shocked(market, last, seed), seed, row)),
        ("bars before its window", _shown(candidate, window, seed)),
    ):
        found = difference(plain, other, "the context")
        require(not found, f"the context must not depend on {what}, but {found}")


def enforcement_stays_within_the_view(candidate: Candidate, seed: int) -> None:
    enforce = candidate.implementation.enforce
    risk, on = samples.decision(seed), Switches()
    view = candidate.run(samples.context(seed))
    for multiplier in (0.0, 0.5, 1.0, MAX_RISK_MULTIPLIER):
        asked = replace(view, bar_ts=risk.bar_ts, risk_multiplier=multiplier)
        out = enforce(risk, asked, on)
        most = max(risk.leverage, 1.0) if multiplier > 1.0 else risk.leverage * multiplier
        require(
            0.0 <= out.leverage <= most + assertions.TOLERANCE,
            f"a multiplier of {multiplier:g} must leave the leverage from 0 to {most:g}, it became {out.leverage:g}",
        )
        assertions.within(out.max_weight, 0.0, risk.max_weight, "max_weight after the view")
        same = enforce(risk, asked, replace(on, llm_enhanced_decisions=False)).leverage
        require(same == risk.leverage, f"a view that is only shown must change no leverage, it became {same:g}")


def _shown(candidate: Candidate, market: BarsByTimeframe, seed: int, row: int = -1) -> MarketContext:
    tier = candidate.implementation
    shown: MarketContext = tier.context(
        tier.market_statistics(market),
        row % shortest(market).n_bars,
        bar_ts=samples.BAR_TS,
        symbols=samples.SYMBOLS,
        forecast=samples.forecast(seed),
        book=samples.book(seed, held=samples.holdings(seed)),
    )
    return shown


_ALL = (
    ("the context speaks of its bar", the_context_speaks_of_its_bar, True),
    ("the context knows no future", the_context_knows_no_future, True),
    ("enforcement stays within the view", enforcement_stays_within_the_view, True),
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
TESTS = (
    completeness.completeness_test("llm"),
    *(GateTest(name=name, function=each, required=needed, contracts=("llm",)) for name, each, needed in _ALL),
)
