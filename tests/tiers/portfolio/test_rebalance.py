import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import BAR_TS, SYMBOLS, book, returns, risk_decision
from tiers import portfolio
from tiers.challenge import merge
from tiers.contracts import TradingState
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import PortfolioParams
from tiers.contracts.weights import quantised
from tiers.portfolio.rebalance import rebalance

GOOD, BAD, FLAT = 0.0008, -0.0008, 0.0
PARAMS = PortfolioParams(max_turnover=2.0, holding_bars=5)
STILL = replace(PARAMS, min_weight_change=0.0)


def rebalanced(risk, held=(0.0, 0.0, 0.0), params=PARAMS, **changes):
    return rebalance(risk=risk, returns=returns(), book=book(held, **changes), params=params)


def test_a_good_expectation_is_bought_and_a_bad_one_sold():
    targets = rebalanced(risk_decision((GOOD, FLAT, BAD)), (0.0, 0.0, 0.3))
    assert targets.weights[0] == 0.4
    assert targets.weights[1] == targets.weights[2] == 0.0
    assert targets.turnover == pytest.approx(0.7)
    assert (targets.reason, targets.method) == ("rebalance", "mean_variance")
    assert (targets.bar_ts, targets.symbols) == (BAR_TS, SYMBOLS)
    np.testing.assert_allclose(targets.previous, [0.0, 0.0, 0.3])


def test_a_symbol_with_more_bars_a_year_is_weighed_by_what_it_earns_and_costs_in_the_same_time():
    """An hour of a coin is a fifth of the time of a stock's, whose nights count into its bars."""
    coin = replace(PARAMS, own_bars={"IBM": 5.0})
    risk = risk_decision((GOOD, GOOD, GOOD), leverage=0.4)
    assert rebalanced(risk, params=coin).weights[2] == pytest.approx(0.4, abs=1e-6)
    alike = replace(
        risk,
        expected_return=risk.expected_return * np.array([1.0, 1.0, 5.0]),
        sigma=risk.sigma * np.sqrt([1.0, 1.0, 5.0]),
    )
    free, free_coin = (replace(each, cost_bps=0.0) for each in (PARAMS, coin))
    np.testing.assert_allclose(rebalanced(risk, params=free_coin).weights, rebalanced(alike, params=free).weights)
    dear = risk_decision((FLAT, FLAT, 0.9 * PARAMS.cost_per_bar))  # costs more than it brings, whatever the clock
    assert rebalanced(dear, params=coin).weights[2] == rebalanced(dear).weights[2] == 0.0


def test_the_smaller_of_limit_and_size_is_the_cap():
    targets = rebalanced(risk_decision((GOOD, GOOD, GOOD), size=(0.1, 0.5, 0.0), max_weight=(0.4, 0.15, 0.4)))
    np.testing.assert_allclose(targets.weights, [0.1, 0.15, 0.0])


def test_the_sum_stays_at_the_leverage_bound():
    targets = rebalanced(risk_decision((GOOD, GOOD, GOOD), leverage=0.5))
    assert targets.weights.sum() == pytest.approx(0.5, abs=3e-6)


def test_a_halted_book_keeps_its_weights_whatever_the_expectation():
    targets = rebalanced(risk_decision((GOOD, BAD, BAD), state=TradingState.HALTED), (0.1, 0.2, 0.8))
    np.testing.assert_allclose(targets.weights, [0.1, 0.2, 0.8])
    assert (targets.reason, targets.turnover) == ("halted", 0.0)


def test_a_reducing_book_only_shrinks():
    targets = rebalanced(risk_decision((GOOD, GOOD, BAD), state=TradingState.REDUCING), (0.1, 0.0, 0.3))
    np.testing.assert_allclose(targets.weights, [0.1, 0.0, 0.0])
    assert targets.reason == "reducing"


def test_a_symbol_without_a_bar_keeps_its_weight_and_its_part_of_the_budget():
    targets = rebalanced(risk_decision((GOOD, GOOD, BAD), leverage=0.5), (0.0, 0.0, 0.3), tradable=(True, True, False))
    assert targets.weights[2] == 0.3
    assert targets.weights.sum() == pytest.approx(0.5, abs=3e-6)


def test_a_holding_whose_market_has_ended_leaves_the_leverage_to_the_other_money():
    """The mixed arms go by the same bound."""
    risk, held = risk_decision((GOOD, GOOD, FLAT), leverage=0.5), (0.0, 0.0, 0.6)
    view = replace(book(held, tradable=(True, True, False)), ended=frozenset(SYMBOLS[2:]))
    targets = rebalance(risk=risk, returns=returns(), book=view, params=PARAMS)
    assert targets.weights[2] == 0.6
    assert targets.weights.sum() == pytest.approx(0.6 + 0.4 * 0.5, abs=3e-6)
    still = replace(targets, weights=targets.previous)
    mixed = merge.targets(
        still, np.array([0.4, 0.4, 0.0]), SYMBOLS, risk=risk, returns=returns(), book=view, params=PARAMS
    )
    assert mixed.weights.sum() == pytest.approx(0.8, abs=3e-6)


def test_a_short_position_without_a_bar_uses_up_budget():
    targets = rebalanced(
        risk_decision((GOOD, GOOD, FLAT), leverage=0.5), (0.0, 0.0, -0.2), tradable=(True, True, False)
    )
    assert targets.weights[2] == pytest.approx(-0.2, abs=2e-6)
    assert np.abs(targets.weights).sum() == pytest.approx(0.5, abs=1e-5)


def test_a_short_position_that_can_be_traded_is_closed():
    assert rebalanced(risk_decision((FLAT, FLAT, BAD)), (0.0, 0.0, -0.2)).weights[2] == 0.0


def test_an_unknown_volatility_keeps_a_weight_but_not_above_its_bound():
    risk = risk_decision((FLAT, FLAT, FLAT), sigma=(math.nan, 0.012, math.nan), size=(0.2, 0.5, 0.4))
    targets = rebalanced(risk, (0.2, 0.0, 0.7), params=STILL)
    assert targets.weights[0] == 0.2
    assert targets.weights[2] == 0.4


def test_a_change_smaller_than_the_band_is_not_traded():
    params = replace(PARAMS, min_weight_change=0.05)
    targets = rebalanced(risk_decision((GOOD, FLAT, FLAT)), (0.36, 0.0, 0.0), params=params)
    assert targets.reason == "no_change"
    assert targets.turnover == 0.0
    np.testing.assert_allclose(targets.weights, [0.36, 0, 0])


def test_an_exit_is_traded_however_small():
    targets = rebalanced(risk_decision((FLAT, FLAT, BAD)), (0.0, 0.0, 0.004))
    assert targets.weights[2] == 0.0


def test_a_drift_above_the_cap_smaller_than_the_band_is_left_alone():
    risk = risk_decision((GOOD, GOOD, FLAT), leverage=0.8)
    targets = rebalanced(risk, (0.405, 0.4, 0.0))
    assert targets.reason == "no_change"


def test_a_breach_wider_than_the_band_is_reduced_to_the_cap_despite_the_turnover_limit():
    params = replace(PARAMS, max_turnover=0.01)
    targets = rebalanced(risk_decision((GOOD, GOOD, FLAT)), (0.6, 0.0, 0.0), params=params)
    assert targets.weights[0] == 0.4
    assert targets.weights[1] == 0.0
    (denial,) = targets.denials
    assert (denial.code, denial.limit) == ("TURNOVER_ABOVE_LIMIT", 0.01)


def test_a_sum_far_above_the_leverage_bound_is_reduced_at_once():
    params = replace(PARAMS, max_turnover=0.0)
    targets = rebalanced(risk_decision((GOOD, GOOD, GOOD), leverage=0.3), (0.3, 0.3, 0.0), params=params)
    np.testing.assert_allclose(targets.weights, [0.15, 0.15, 0.0], atol=2e-6)


def test_the_turnover_limit_moves_a_part_of_the_way():
    params = replace(PARAMS, max_turnover=0.2)
    targets = rebalanced(risk_decision((GOOD, FLAT, BAD)), (0.0, 0.0, 0.4), params=params)
    np.testing.assert_allclose(targets.weights, [0.1, 0.0, 0.3], atol=2e-6)
    (denial,) = targets.denials
    assert denial.observed == pytest.approx(0.8)


def test_no_turnover_at_all_is_a_change_denied():
    params = replace(PARAMS, max_turnover=0.0)
    targets = rebalanced(risk_decision((GOOD, FLAT, FLAT)), params=params)
    assert targets.reason == "no_change"
    assert targets.denials[0].code == "TURNOVER_ABOVE_LIMIT"


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.3, 0.7, 0.123456, 1e-6])
def test_weights_on_the_grid_stay_there(weight):
    assert quantised(np.array([weight]))[0] == pytest.approx(weight, abs=1e-15)
    assert quantised(np.array([weight + 9e-7]))[0] == pytest.approx(weight, abs=1e-15)


unit = st.floats(0, 1)
three = st.tuples(unit, unit, unit)


@given(
    st.tuples(*[st.floats(-0.002, 0.002)] * 3),
    st.tuples(*[st.floats(0, 0.5)] * 3),
    st.tuples(three, three, unit, st.floats(0, 1.5)),
    st.tuples(*[st.booleans()] * 6),
    st.sampled_from([TradingState.ACTIVE, TradingState.REDUCING]),
)
def test_no_limit_is_ever_broken(expected, held, bounds, flags, state):
    size, max_weight, leverage, max_turnover = bounds
    sigma = tuple(0.012 if known else math.nan for known in flags[:3])
    params = replace(PARAMS, max_turnover=max_turnover)
    risk = risk_decision(expected, sigma=sigma, size=size, max_weight=max_weight, leverage=leverage, state=state)
    view = book(held, tradable=flags[3:])
    targets = rebalance(risk=risk, returns=returns(), book=view, params=params)
    weights, previous, free = targets.weights, view.weights, np.array(flags[3:])
    cap, drift, step = np.minimum(size, max_weight), params.min_weight_change, 2e-6
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights[~free], previous[~free], atol=step)
    assert (weights[free] <= np.maximum(cap, np.minimum(previous, cap + drift))[free] + step).all()
    kept = previous[~free].sum()
    assert weights.sum() <= max(leverage, kept, min(previous.sum(), leverage + drift)) + step
    if state is TradingState.REDUCING:
        assert (weights <= previous + step).all()
    demanded = np.maximum(previous - cap, 0)[free].sum() + max(0.0, previous.sum() - leverage)
    assert targets.turnover <= max(max_turnover, 2 * demanded) + 3 * step


def test_the_same_inputs_give_the_same_bits():
    risk = risk_decision((GOOD, GOOD, BAD))
    one, two = rebalanced(risk, (0.1, 0.2, 0.3)), rebalanced(risk, (0.1, 0.2, 0.3))
    np.testing.assert_array_equal(one.weights, two.weights)


def test_different_symbols_are_refused():
    with pytest.raises(DataError, match="the same symbols"):
        rebalanced(risk_decision((GOOD, GOOD)))
    with pytest.raises(DataError, match=r"an array of shape \(120, 2\)"):
        rebalance(risk=risk_decision((GOOD,) * 3), returns=returns(120, 2), book=book(), params=PARAMS)


def test_the_package_names_its_version_and_its_entry():
    assert portfolio.VERSION == "1.0.0"
    assert portfolio.run is rebalance
