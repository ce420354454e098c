import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import returns, use_plain_twins
from tiers.contracts import TradingState
from tiers.contracts.parameters import PipelineParams, RiskParams, bars_a_year
from tiers.risk import kelly, limits
from trading.market.timeframes import TIMEFRAMES

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED
PARAMS = RiskParams()


@pytest.mark.parametrize(
    ("before", "drawdown", "after"),
    [
        (ACTIVE, 0.0, ACTIVE),
        (ACTIVE, 0.29, ACTIVE),
        (ACTIVE, 0.30, REDUCING),
        (ACTIVE, 0.40, HALTED),
        (REDUCING, 0.29, REDUCING),
        (REDUCING, 0.20, REDUCING),
        (REDUCING, 0.19, ACTIVE),
        (REDUCING, 0.45, HALTED),
        (HALTED, 0.0, HALTED),
    ],
)
def test_the_state_follows_the_drawdown_with_hysteresis(before, drawdown, after):
    assert limits.next_state(before, drawdown, PARAMS) is after


@given(st.lists(st.floats(0, 1), max_size=30))
def test_a_halted_book_stays_halted_whatever_comes(drawdowns):
    state = HALTED
    for drawdown in drawdowns:
        state = limits.next_state(state, drawdown, PARAMS)
        assert state is HALTED


def test_leverage_falls_linearly_between_the_two_drawdowns():
    points = [limits.deleveraging(d, PARAMS) for d in (0.0, 0.10, 0.20, 0.30, 0.9)]
    assert points == pytest.approx([1.0, 1.0, 0.6, 0.2, 0.2])


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_deeper_drawdown_never_allows_more(one, other):
    low, high = sorted((one, other))
    assert limits.deleveraging(low, PARAMS) >= limits.deleveraging(high, PARAMS)


def test_target_leverage_gives_the_equal_weighted_book_the_target_volatility():
    params = RiskParams(max_leverage=10.0, target_volatility=0.15)
    sigma, correlation = np.array([0.01, 0.02, 0.03]), 0.4
    c = np.full((3, 3), correlation) + (1 - correlation) * np.eye(3)
    yearly = math.sqrt(np.full(3, 1 / 3) @ (sigma[:, None] * c * sigma) @ np.full(3, 1 / 3) * 252)
    assert target_leverage(sigma, correlation, params) * yearly == pytest.approx(0.15)


def target_leverage(sigma, correlation, params, symbols=("AAPL", "IBM", "BTC/USD")):
    return limits.target_leverage(symbols[: len(sigma)], sigma, correlation, params)


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_a_book_of_stocks_and_coins_reaches_its_target_by_the_years_of_both(timeframe):
    both = PipelineParams.of(timeframe, closes=True, around_the_clock=["BTC/USD"], cost_bps=7.0).risk
    years = np.array([bars_a_year(timeframe, closes=closes) for closes in (True, True, False)])
    sigma = np.array([0.2, 0.25, 0.8]) / np.sqrt(years)  # of a year, by own bars
    volatility = math.sqrt(0.2**2 + 0.25**2 + 0.8**2) / 3
    assert (
        target_leverage(sigma, 0.0, both) * volatility == pytest.approx(both.target_volatility) == pytest.approx(0.15)
    )


def test_unknown_correlation_counts_as_one_and_negative_as_none():
    params = RiskParams(max_leverage=10.0)
    sigma = np.array([0.01, 0.02, math.nan])
    unknown = target_leverage(sigma, math.nan, params)
    assert unknown == target_leverage(sigma, 1.0, params)
    assert target_leverage(sigma, -0.3, params) == target_leverage(sigma, 0.0, params)
    assert unknown < target_leverage(sigma, 0.5, params)


def test_leverage_is_capped_also_when_nothing_is_known():
    assert target_leverage(np.array([1e-5]), 0.0, PARAMS) == PARAMS.max_leverage
    assert target_leverage(np.array([math.nan, 0.0]), 0.0, PARAMS) == PARAMS.max_leverage


def test_mean_correlations_are_those_of_numpy():
    window = returns(100, 5, common=0.6)
    c = np.corrcoef(window.T)
    expected = (c.sum(axis=1) - 1) / 4
    np.testing.assert_allclose(limits.mean_correlations(window, 60), expected, rtol=1e-10)


def test_symbols_without_history_or_movement_are_left_out():
    window = returns(100, 5)
    window[:60, 1] = np.nan  # forty returns are too few
    window[:30, 2] = np.nan  # seventy are enough
    window[:, 3] = 0.0
    window[:40, 3] = np.nan  # it takes no row from the others
    seen = limits.mean_correlations(window, 60)
    c = np.corrcoef(window[30:, [0, 2, 4]].T)
    np.testing.assert_allclose(seen[[0, 2, 4]], (c.sum(axis=1) - 1) / 2, rtol=1e-10)
    assert np.isnan(seen[[1, 3]]).all()


@pytest.mark.parametrize("window", [returns(100, 1), returns(10, 3), np.full((100, 3), np.nan)])
def test_no_partner_or_no_history_means_no_correlation(window):
    assert np.isnan(limits.mean_correlations(window, 60)).all()


def test_the_plain_twins_give_the_same_correlations(monkeypatch):
    window = returns(80, 4)
    window[:10, 2] = np.nan
    compiled = limits.mean_correlations(window, 60)
    use_plain_twins(monkeypatch, limits)
    np.testing.assert_allclose(limits.mean_correlations(window, 60), compiled, rtol=1e-12)


def test_the_expected_return_is_the_edge_times_the_mean_move():
    probability = np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [math.nan] * 3])
    sigma = np.array([0.01, 0.02, 0.02])
    seen = kelly.expected_return(probability, sigma, horizon_bars=(4,) * len(sigma), edge_scale=0.8)
    np.testing.assert_allclose(seen, [0.3 * 0.8 * 0.01 / 2, -0.3 * 0.8 * 0.02 / 2, math.nan])


def test_the_mean_move_of_a_normal_return_is_the_default_scale():
    draws = np.random.default_rng(0).standard_normal(400_000)
    assert PARAMS.edge_scale == pytest.approx(np.abs(draws).mean(), rel=5e-3)


def test_kelly_is_the_fraction_that_grows_fastest():
    mu, sigma = 0.001, 0.03
    fraction = kelly.kelly_size(np.array([mu]), np.array([sigma]), fraction=1.0, cap=10.0)[0]
    growth = [w * mu - 0.5 * (w * sigma) ** 2 for w in np.linspace(0, 3, 3001)]
    assert fraction == pytest.approx(np.linspace(0, 3, 3001)[int(np.argmax(growth))], abs=1e-3)


@given(st.floats(-0.01, 0.01), st.floats(1e-4, 0.2), st.floats(0, 1), st.floats(0, 2))
def test_kelly_never_leaves_its_bounds(expected, sigma, fraction, cap):
    size = kelly.kelly_size(np.array([expected]), np.array([sigma]), fraction=fraction, cap=cap)[0]
    assert 0.0 <= size <= cap
    assert size == 0.0 or expected > 0


def test_the_fixed_fraction_only_asks_for_the_sign():
    seen = kelly.fixed_size(np.array([1e-9, 0.0, -0.1, math.nan]), fraction=0.2)
    np.testing.assert_array_equal(seen, [0.2, 0.0, 0.0, math.nan])
