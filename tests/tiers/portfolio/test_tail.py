"""The loss of the worst bars, and that the weights that are chosen keep its limit, whoever chooses them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import SYMBOLS, book, returns, risk_decision
from tiers.challenge import merge
from tiers.contracts import TailLimit, tail
from tiers.contracts.parameters import PortfolioParams
from tiers.portfolio.rebalance import rebalance

PARAMS = PortfolioParams(max_turnover=2.0, holding_bars=5)
EVERYONE = TailLimit(symbols=SYMBOLS, max_cvar=0.008, confidence=0.95, min_history=60)
GOOD, BAD = 0.0008, -0.0008


def test_cvar_is_the_mean_of_the_worst_bars():
    window = np.linspace(-0.1, 0.1, 100)[:, None]
    seen = tail.historical_cvar(window, np.array([0.5]), confidence=0.95, min_history=60)
    assert seen == pytest.approx(-0.5 * window[:5].mean())


@given(st.floats(0.01, 3.0), st.integers(0, 1000))
def test_cvar_grows_in_proportion_to_the_weights(factor, seed):
    window, weights = returns(80, 3, seed=seed), np.array([0.2, 0.0, 0.5])
    one = tail.historical_cvar(window, weights, confidence=0.9, min_history=60)
    many = tail.historical_cvar(window, factor * weights, confidence=0.9, min_history=60)
    assert many == pytest.approx(factor * one)


def test_cvar_of_nothing_is_zero_and_of_an_unknown_past_unknown():
    window = returns(100, 2)
    window[:70, 1] = np.nan
    more = {"confidence": 0.95, "min_history": 60}
    assert tail.historical_cvar(window, np.zeros(2), **more) == 0.0
    assert math.isnan(tail.historical_cvar(window, np.array([0.1, 0.1]), **more))
    assert tail.historical_cvar(window, np.array([0.1, 0.0]), **more) > 0
    assert tail.historical_cvar(np.full((100, 1), 0.01), np.ones(1), **more) == 0.0


def limited(expected, limit=EVERYONE, **more):
    return replace(risk_decision(expected, **more), tail=limit)


def rebalanced(risk, held=(0.0, 0.0, 0.0), window=None, **changes):
    window = returns() if window is None else window
    return rebalance(risk=risk, returns=window, book=book(held, **changes), params=PARAMS)


def test_the_book_that_is_chosen_keeps_the_limit_where_a_spread_one_would():
    """All of the budget in the two best symbols loses more than the same budget in three."""
    window = returns(common=0.0)
    spread = np.full(3, 0.8 / 3)
    risk = limited((GOOD, GOOD, BAD), leverage=0.8)
    free = rebalanced(replace(risk, tail=None), window=window).weights
    limit = replace(EVERYONE, max_cvar=0.5 * (tail.loss(window, spread, EVERYONE) + tail.loss(window, free, EVERYONE)))
    assert tail.loss(window, spread, limit) < limit.max_cvar < tail.loss(window, free, limit)
    targets = rebalanced(replace(risk, tail=limit), window=window)
    assert tail.loss(window, targets.weights, limit) == pytest.approx(limit.max_cvar, abs=1e-5)
    assert tail.loss(window, targets.weights, limit) <= limit.max_cvar
    np.testing.assert_allclose(targets.weights / targets.weights.sum(), free / free.sum(), atol=1e-5)
    assert [(d.code, d.symbol) for d in targets.denials] == [("CVAR_ABOVE_LIMIT", s) for s in ("AAPL", "GOOG")]
    assert targets.denials[0].observed == pytest.approx(tail.loss(window, free, limit))


@given(
    held=st.tuples(*[st.floats(0.0, 0.6)] * 3),
    expected=st.tuples(*[st.floats(-0.001, 0.001)] * 3),
    max_cvar=st.floats(0.0, 0.02),
    seed=st.integers(0, 50),
    turnover=st.floats(0.0, 2.0),
)
def test_no_targets_lose_more_whatever_is_held_and_wanted(held, expected, max_cvar, seed, turnover):
    limit, window = replace(EVERYONE, max_cvar=max_cvar), returns(seed=seed)
    params = replace(PARAMS, max_turnover=turnover)
    risk = limited(expected, limit)
    targets = rebalance(risk=risk, returns=window, book=book(held), params=params)
    assert tail.loss(window, targets.weights, limit) <= max_cvar + 1e-9
    for served in ({"GOOG"}, set(SYMBOLS)):
        mixed = merge.targets(
            targets, np.full(3, 0.4), served, risk=risk, returns=window, book=book(held), params=params
        )
        assert tail.loss(window, mixed.weights, limit) <= max_cvar + 1e-9


def test_only_the_symbols_of_the_list_give_way():
    risk = limited((GOOD, GOOD, GOOD), replace(EVERYONE, symbols=("AAPL",)), leverage=1.0)
    free = rebalanced(replace(risk, tail=None)).weights
    kept = rebalanced(risk).weights
    assert kept[0] < free[0]
    np.testing.assert_array_equal(kept[1:], free[1:])


def test_an_unknown_loss_adds_nothing_to_the_symbols_of_the_list():
    risk = limited((GOOD, GOOD, GOOD), replace(EVERYONE, symbols=("AAPL",)))
    targets = rebalanced(risk, (0.1, 0.0, 0.0), returns(30))
    assert targets.weights[0] == 0.1
    assert targets.weights[1] > 0.1
    assert [(d.code, d.symbol) for d in targets.denials] == [("CVAR_UNKNOWN", "AAPL")]


def test_what_has_no_bar_keeps_its_weight_and_counts():
    targets = rebalanced(limited((GOOD, BAD, BAD)), (0.0, 0.0, 0.5), tradable=(True, True, False))
    np.testing.assert_allclose(targets.weights, [0.0, 0.0, 0.5])
