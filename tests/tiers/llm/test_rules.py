import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import BAR_TS, market_context, risk_decision
from tiers import llm
from tiers.contracts import Stance, StrategicView, Switches, TradingState
from tiers.contracts.errors import Rejected
from tiers.llm import rule_based
from tiers.llm.enforce import enforce
from tiers.llm.reply import MAX_REASONING, view_of

ON = Switches()


@pytest.mark.parametrize(
    ("changes", "stance", "sentence"),
    [
        ({}, Stance.NEUTRAL, "The regime is ranging with 50% of the symbols above"),
        ({"mean_edge": math.nan}, Stance.NEUTRAL, "a mean edge of unknown"),
        ({"regime": "unknown"}, Stance.NEUTRAL, "Too little history"),
        ({"drawdown": 0.2}, Stance.RISK_OFF, "20.0% below its peak"),
        ({"regime": "turbulent", "volatility_ratio": 2.0}, Stance.RISK_OFF, "2.00 times its typical level"),
        ({"regime": "trending_up", "trend": 1.0, "breadth": 0.8}, Stance.RISK_ON, "trends up by 1.00"),
        ({"regime": "trending_up", "trend": 1.0, "breadth": 0.5}, Stance.NEUTRAL, "trending up"),
        ({"regime": "trending_up", "breadth": 0.8, "mean_edge": -0.1}, Stance.NEUTRAL, "trending up"),
        ({"regime": "trending_up", "breadth": 0.8, "mean_edge": math.nan}, Stance.NEUTRAL, "trending up"),
        ({"regime": "trending_down", "trend": -1.0, "breadth": 0.2}, Stance.RISK_OFF, "trends down by 1.00"),
        ({"regime": "trending_down", "trend": -1.0, "breadth": 0.5}, Stance.NEUTRAL, "trending down"),
    ],
)
def test_the_analyst_says_what_it_thinks_and_why(changes, stance, sentence):
    view = rule_based.analyse(market_context(**changes))
    assert view.stance is stance
    assert sentence in view.reasoning
    assert view.reasoning.endswith(".")
    assert (view.provider, view.bar_ts, view.usage) == ("rules", BAR_TS, {})


@pytest.mark.parametrize(
    ("changes", "multiplier"),
    [
        ({}, 1.0),
        ({"drawdown": 0.15}, 0.5),
        ({"regime": "turbulent", "volatility_ratio": 2.0}, 0.5),
        ({"regime": "trending_up", "trend": 2.5, "breadth": 1.0}, 1.25),
        ({"regime": "trending_down", "trend": -1.0, "breadth": 0.1}, 0.8),
    ],
)
def test_the_multiplier_follows_from_the_figures(changes, multiplier):
    assert rule_based.analyse(market_context(**changes)).risk_multiplier == pytest.approx(multiplier)


figure = st.floats(-5, 5)
share = st.floats(0, 1)


@given(st.sampled_from(["ranging", "trending_up", "trending_down", "unknown"]), figure, share, figure, share)
def test_every_view_follows_the_schema_and_is_repeatable(name, trend, breadth, edge, drawdown):
    context = market_context(regime=name, trend=trend, breadth=breadth, mean_edge=edge, drawdown=drawdown)
    view = rule_based.analyse(context)
    reply = {
        "stance": view.stance.value,
        "conviction": view.conviction,
        "risk_multiplier": view.risk_multiplier,
        "reasoning": view.reasoning,
    }
    assert view_of(reply, bar_ts=BAR_TS, provider="rules", usage={}) == view == rule_based.analyse(context)


GOOD = {"stance": "RISK_OFF", "conviction": 0.7, "risk_multiplier": 0.5, "reasoning": "Turbulence."}


def test_a_good_reply_becomes_a_view():
    view = view_of(GOOD, bar_ts=BAR_TS, provider="anthropic", usage={"input_tokens": 7})
    assert (view.stance, view.conviction, view.risk_multiplier) == (Stance.RISK_OFF, 0.7, 0.5)
    assert view.usage == {"input_tokens": 7}


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        (GOOD | {"risk_multiplier": 1.51}, "risk_multiplier: 1.51 is greater"),
        (GOOD | {"risk_multiplier": -0.1}, "risk_multiplier: -0.1 is less"),
        (GOOD | {"conviction": "high"}, "conviction: 'high' is not of type"),
        (GOOD | {"conviction": True}, "conviction: True is not of type"),
        (GOOD | {"stance": "BULLISH"}, "stance: 'BULLISH' is not one of"),
        (GOOD | {"reasoning": ""}, "reasoning: '' "),
        (GOOD | {"reasoning": "x" * (MAX_REASONING + 1)}, "reasoning: 'xxx"),
        (GOOD | {"orders": []}, "the reply: Additional properties"),
        ({k: v for k, v in GOOD.items() if k != "stance"}, "the reply: 'stance' is a required"),
        ([GOOD], "the reply: "),
        ("RISK_ON", "the reply: 'RISK_ON' is not of type 'object'"),
    ],
)
def test_a_reply_that_breaks_the_schema_is_rejected_with_its_place(reply, place):
    with pytest.raises(Rejected, match=place) as caught:
        view_of(reply, bar_ts=BAR_TS, provider="anthropic", usage={})
    assert len(str(caught.value)) < 400


def test_the_neutral_view_changes_nothing():
    view = StrategicView.neutral(BAR_TS, provider="off", reasoning="The tier is off.")
    risk = risk_decision((0.001, 0.0, 0.0), leverage=0.7)
    assert enforce(risk, view, ON) is risk


def with_multiplier(multiplier):
    return replace(StrategicView.neutral(BAR_TS, provider="rules", reasoning="Because."), risk_multiplier=multiplier)


@pytest.mark.parametrize(
    ("leverage", "multiplier", "expected"),
    [(0.8, 0.5, 0.4), (0.8, 0.0, 0.0), (0.6, 1.5, 0.9), (0.8, 1.5, 1.0), (1.4, 1.5, 1.4), (1.4, 0.5, 0.7)],
)
def test_the_view_scales_leverage_but_never_borrows(leverage, multiplier, expected):
    risk = risk_decision((0.001, 0.0, 0.0), leverage=leverage)
    changed = enforce(risk, with_multiplier(multiplier), ON)
    assert changed.leverage == pytest.approx(expected)
    assert changed.max_weight is risk.max_weight
    assert changed.size is risk.size
    assert changed.state is risk.state


@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED])
def test_a_book_that_is_not_active_gets_no_more_leverage_but_may_get_less(state):
    risk = risk_decision((0.001, 0.0, 0.0), leverage=0.5, state=state)
    assert enforce(risk, with_multiplier(1.5), ON).leverage == 0.5
    assert enforce(risk, with_multiplier(0.5), ON).leverage == 0.25


@pytest.mark.parametrize("switch", ["llm_strategic_analysis", "llm_enhanced_decisions"])
def test_a_view_that_may_not_decide_changes_nothing(switch):
    risk = risk_decision((0.001, 0.0, 0.0))
    assert enforce(risk, with_multiplier(0.1), replace(ON, **{switch: False})) is risk


@pytest.mark.parametrize("multiplier", [-0.1, 1.6, math.nan, math.inf])
def test_a_multiplier_outside_its_bounds_is_rejected(multiplier):
    with pytest.raises(Rejected, match=r"risk_multiplier must be from 0 to 1\.5"):
        enforce(risk_decision((0.0,)), with_multiplier(multiplier), ON)


def test_a_view_of_another_bar_is_rejected():
    late = replace(with_multiplier(1.0), bar_ts=BAR_TS + timedelta(days=1))
    with pytest.raises(Rejected, match="the view must speak of the bar of"):
        enforce(risk_decision((0.0,)), late, ON)


def test_the_package_names_its_version_and_its_entry():
    assert llm.VERSION == "1.0.0"
    assert llm.run is rule_based.analyse
