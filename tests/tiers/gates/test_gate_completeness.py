"""The suites catch what is wrong with the parts of a tier beside `run`: a wrong one for each property."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.mutants import OF_PARTS, candidate, one, shipped
from tiers import features, llm, risk
from tiers.contracts import VolatilityPath, protocols, shortest
from tiers.gates.completeness import NAME, it_has_every_part_of_its_tier


def renamed(timeframe):
    return replace(features.feature_set(timeframe), name="a name that no column of any table could ever hold")


def of_another_timeframe(_timeframe):
    return features.feature_set("5m")


def volatility(change):
    def forecast(bars, *, params, garch, first_row=0):
        path = risk.forecast_volatility(bars, params=params, garch=garch, first_row=first_row)
        return change(path, shortest(bars))

    return forecast


def of_whole_history(path, bars):
    return replace(path, sigma=path.sigma + np.nanstd(bars.close, axis=0)[None, :] * 1e-3)


def counts_bars(path, bars):
    return replace(path, sigma=path.sigma * (1.0 + np.arange(bars.n_bars)[:, None] * 1e-3))


def context(**changes):
    return lambda *args, **named: replace(llm.context(*args, **named), **changes)


def statistics_of_all(bars):
    path = llm.market_statistics(bars)
    return replace(path, breadth=np.full(len(path), float(np.nanmean(shortest(bars).close))))


def loosens(decision, view, switches):
    return replace(decision, leverage=3.0)


def ignores_flags(decision, view, switches):
    return replace(decision, leverage=decision.leverage * view.risk_multiplier)


MUTANTS = [
    ("features", "the set names its columns and timeframes", {"feature_set": renamed}, "at most 32 letters"),
    ("features", "the set names its columns and timeframes", {"feature_set": of_another_timeframe}, "began with 5m"),
    (
        "risk",
        "volatility is positive or unknown",
        {"forecast_volatility": volatility(lambda path, _: replace(path, sigma=-path.sigma))},
        "volatility must be above 0",
    ),
    (
        "risk",
        "volatility is positive or unknown",
        {"forecast_volatility": volatility(lambda path, _: replace(path, names=("", "x" * 33, "y" * 33)))},
        "a method needs a name of at most 32 letters",
    ),
    (
        "risk",
        "volatility knows no future",
        {"forecast_volatility": volatility(of_whole_history)},
        "must not depend on bars that come later",
    ),
    (
        "risk",
        "volatility knows no future",
        {"forecast_volatility": volatility(counts_bars)},
        "must be that of the window that the module asks for",
    ),
    ("llm", "the context speaks of its bar", {"context": context(regime="")}, "must name a regime"),
    (
        "llm",
        "the context knows no future",
        {"market_statistics": statistics_of_all},
        "must not depend on bars that come later",
    ),
    ("llm", "enforcement stays within the view", {"enforce": loosens}, "must leave the leverage from 0 to 0"),
    ("llm", "enforcement stays within the view", {"enforce": ignores_flags}, "must change no leverage"),
]


@pytest.mark.parametrize(("stage", "name", "others", "message"), MUTANTS)
def test_a_wrong_part_is_caught_by(stage, name, others, message):
    assert message in one(stage, shipped(stage), name, **others)
    assert one(stage, shipped(stage), name) == ""


def test_every_property_of_a_part_has_a_wrong_one():
    assert {name for _, name, _, _ in MUTANTS} == OF_PARTS - {NAME}


@pytest.mark.parametrize("stage", protocols.PROTOCOLS)
def test_a_module_that_lacks_a_part_is_told_which_in_one_sentence(stage):
    it_has_every_part_of_its_tier(candidate(stage, shipped(stage)), 7)
    for name in protocols.parts(stage):
        message = one(stage, None, NAME) if name == "run" else one(stage, shipped(stage), NAME, **{name: None})
        assert message == protocols.lacks(stage, name)
        assert message.startswith(f"a module of the {stage} tier must have the functions ")
        assert message.endswith(f"it lacks {name}")


def test_a_path_names_the_method_of_each_symbol():
    path = VolatilityPath(
        sigma=np.array([[0.1, np.nan]]), method=np.array([[1, 0]], dtype=np.int8), names=("", "range"), preferred=""
    )
    assert path.methods(0) == ("range", "")
