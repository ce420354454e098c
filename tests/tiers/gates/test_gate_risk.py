"""The suite `risk` catches what is wrong with a risk module and with an analyst: a wrong one for each property."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.mutants import caught, names, one, shipped
from tiers.contracts import Stance, TradingState
from tiers.gates import samples

PLAIN = shipped("risk")
ANALYST = shipped("llm")


def changed(**changes):
    """The shipped decision with some fields other ones; a function is given the decision and the inputs."""

    def run(**inputs):
        out = PLAIN(**inputs)
        made = {name: value(out, inputs) if callable(value) else value for name, value in changes.items()}
        return replace(out, **made)

    return run


def lifted(which):
    """The shipped decision with the chosen symbols allowed up to 0.4."""
    return changed(
        size=lambda out, inputs: np.where(which(inputs), 0.4, out.size),
        max_weight=lambda out, inputs: np.where(which(inputs), 0.4, out.max_weight),
    )


def forgets_leverage_limit(out, inputs):
    return 1.2 * out.leverage + 0.1


def ignores_weight_limit(out, inputs):
    return np.where(out.max_weight > 0.0, 0.6, 0.0)


def raises_unknown_volatility(inputs):
    return np.isnan(inputs["volatility"].sigma)


def raises_missing_forecast(inputs):
    return np.isnan(inputs["forecast"].probability[:, 0])


def raises_untradable(inputs):
    return ~inputs["book"].tradable


def never_halts(out, inputs):
    return TradingState.REDUCING if out.state == TradingState.HALTED else out.state


def resumes_by_itself(out, inputs):
    return TradingState.ACTIVE if inputs["book"].drawdown < 0.01 else out.state


def never_reduces(out, inputs):
    return TradingState.ACTIVE if out.state == TradingState.REDUCING else out.state


def is_nervous(out, inputs):
    return TradingState.REDUCING if out.state == TradingState.ACTIVE else out.state


def loves_volatility(out, inputs):
    return min(1.0, 30.0 * float(np.nanmean(out.sigma))) * inputs["params"].max_leverage


def doubles_down(out, inputs):
    return inputs["params"].max_leverage * min(1.0, 0.3 + inputs["book"].drawdown)


def loosens_when_advanced(out, inputs):
    return out.max_weight if inputs["switches"].advanced_risk_engine else 0.5 * out.max_weight


def shares_out(out, inputs):
    total = out.size.sum()
    return out.size / total if total > 0 else out.size


def negative(out, inputs):
    return out.size - 0.01


def not_a_number(out, inputs):
    return np.full_like(out.size, np.nan)


NAMELESS = SimpleNamespace(code="", observed=1.0, limit=0.0, symbol="")
ENDLESS = SimpleNamespace(code="ODD", observed=math.inf, limit=0.0, symbol="")
STRANGER = SimpleNamespace(code="ODD", observed=1.0, limit=0.0, symbol="ZZZ")

MUTANTS = [
    ("the decision speaks of its bar and symbols", changed(symbols=("AAA",)), "must keep the symbols"),
    (
        "the decision speaks of its bar and symbols",
        changed(bar_ts=samples.BAR_TS - timedelta(hours=1)),
        "must be of the bar",
    ),
    ("the decision speaks of its bar and symbols", changed(size=np.zeros(2)), "size must be float64 (6,)"),
    ("the decision speaks of its bar and symbols", changed(state="PANIC"), "state must be one of ACTIVE"),
    ("the decision speaks of its bar and symbols", lambda **_: None, "NoneType lacks bar_ts"),
    ("sizes and weights are finite and not negative", changed(size=negative), "size must be from 0 to inf, was -0.01"),
    ("sizes and weights are finite and not negative", changed(max_weight=not_a_number), "was nan"),
    ("sizes and weights are finite and not negative", changed(expected_return=not_a_number), "expected_return must be"),
    ("no weight is above its limit", changed(max_weight=ignores_weight_limit), "under a limit of 0.05 must be from 0"),
    ("leverage is within its limit", changed(leverage=forgets_leverage_limit), "leverage must be from 0 to 0, was 0.1"),
    ("leverage is within its limit", changed(leverage=math.nan), "was nan"),
    ("unknown volatility is denied", lifted(raises_unknown_volatility), "must not allow more than"),
    ("unknown volatility is denied", changed(denials=()), "must be told as a denial, there was none"),
    ("a missing forecast is denied", lifted(raises_missing_forecast), "must not allow more than"),
    ("a missing forecast is denied", changed(expected_return=np.full(6, 0.01)), "must leave no expected return"),
    ("nothing is added to a symbol without a bar", lifted(raises_untradable), "a symbol without a bar"),
    ("deep drawdown halts", changed(state=never_halts), "must halt a book that is ACTIVE, it became REDUCING"),
    ("drawdown reduces", changed(state=never_reduces), "must end ACTIVE, the book stayed ACTIVE"),
    ("a halted book stays halted", changed(state=resumes_by_itself), "only a person ends HALTED"),
    ("denials name code, observed and limit", changed(denials=(NAMELESS,)), "a denial needs a code"),
    ("denials name code, observed and limit", changed(denials=(ENDLESS,)), "must name numbers, were observed=inf"),
    ("denials name code, observed and limit", changed(denials=(STRANGER,)), "must name a symbol of the book"),
    ("denials name code, observed and limit", changed(denials=("no",)), "str lacks code"),
    ("a small loss changes no state", changed(state=is_nervous), "should leave the book ACTIVE"),
    ("higher volatility never allows more", changed(leverage=loves_volatility), "must not raise leverage"),
    ("deeper drawdown never allows more", changed(leverage=doubles_down), "must not rise as the drawdown deepens"),
    ("the advanced engine only tightens", changed(max_weight=loosens_when_advanced), "under the advanced limits"),
    ("symbols are sized by themselves", changed(size=shares_out), "should not move with another's forecast"),
]


@pytest.mark.parametrize(("name", "run", "message"), MUTANTS)
def test_a_wrong_risk_module_is_caught_by(name: str, run, message: str):
    assert message in one("risk", run, name)


def test_every_property_has_a_wrong_risk_module():
    assert {name for name, _, _ in MUTANTS} == names("risk")


def test_the_shipped_risk_module_passes_every_test():
    for seed in (7, 8, 9, 10):
        assert caught("risk", PLAIN, seed=seed) == {}


def test_a_more_cautious_module_is_a_good_challenger():
    cautious = changed(
        leverage=lambda out, _: 0.5 * out.leverage,
        size=lambda out, inputs: np.minimum(0.5 * out.size, 0.1),
    )
    assert caught("risk", cautious) == {}


# --- the analyst ---


def view(**changes):
    def run(context):
        out = ANALYST(context)
        made = {name: value(out, context) if callable(value) else value for name, value in changes.items()}
        return replace(out, **made)

    return run


VIEWS = [
    ("the view speaks of its bar", view(bar_ts=samples.BAR_TS + timedelta(hours=1)), "the view must be of the bar"),
    ("the view speaks of its bar", view(provider=""), "must name its provider, was ''"),
    ("the multiplier is from 0 to 1.5", view(risk_multiplier=1.51), "must be from 0 to 1.5, was 1.51"),
    ("the multiplier is from 0 to 1.5", view(risk_multiplier=-0.1), "was -0.1"),
    ("the multiplier is from 0 to 1.5", view(risk_multiplier=lambda _, c: 1.0 + 0.1 * c.trend), "was nan"),
    ("conviction is from 0 to 1", view(conviction=7), "conviction must be from 0 to 1, was 7"),
    ("the stance is a known one", view(stance="BULLISH"), "stance must be one of RISK_ON"),
    ("the reasoning is a bounded text", view(reasoning=""), "1 to 1000 characters"),
    ("the reasoning is a bounded text", view(reasoning="x" * 1_001), "1 to 1000 characters"),
    (
        "a deep drawdown asks for no more risk",
        view(risk_multiplier=1.2),
        "with half the equity lost the view must not ask for more risk, trending_up gave 1.2",
    ),
    (
        "an unknown market asks for no more risk",
        view(risk_multiplier=lambda out, c: 1.3 if c.regime == "unknown" else out.risk_multiplier),
        "of which nothing is known must not ask for more risk, it gave 1.3",
    ),
    ("turbulence asks for less risk", view(risk_multiplier=1.0), "should ask for less risk, it gave 1"),
    ("the stance fits the multiplier", view(stance=Stance.RISK_OFF), "RISK_OFF should not go with a multiplier of 1."),
]


@pytest.mark.parametrize(("name", "run", "message"), VIEWS)
def test_a_wrong_analyst_is_caught_by(name: str, run, message: str):
    found = {one("llm", run, name, seed=seed) for seed in range(7, 13)}
    assert any(message in each for each in found), found


def test_every_property_has_a_wrong_analyst():
    assert {name for name, _, _ in VIEWS} == names("llm")


def test_the_shipped_analyst_passes_every_test():
    for seed in range(7, 15):
        assert caught("llm", ANALYST, seed=seed) == {}
