import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import BAR_TS, book, forecast, returns, volatility_forecast
from tiers import risk
from tiers.contracts import Switches, TailLimit, TradingState
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import RiskParams
from tiers.risk.sizing import decide

NAN = math.nan
PARAMS = RiskParams(kelly_cap=2.0)


def decided(edge=(0.02, 0.0, -0.1), sigma=(0.01, 0.012, 0.02), **changes):
    values = {
        "forecast": forecast(edge),
        "volatility": volatility_forecast(*sigma),
        "book": book(),
        "returns": returns(),
        "switches": Switches(),
        "params": PARAMS,
    }
    return decide(**(values | changes))


def codes(decision):
    return [(d.code, d.symbol) for d in decision.denials]


def test_a_positive_edge_gets_a_size_and_a_negative_one_none():
    decision = decided()
    expected = 0.02 * PARAMS.edge_scale * 0.01 / math.sqrt(5)
    assert decision.expected_return[0] == pytest.approx(expected)
    assert decision.size[0] == pytest.approx(0.25 * expected / 0.01**2)
    assert decision.size[1] == decision.size[2] == 0.0
    assert decision.expected_return[2] < 0
    assert decision.denials == ()
    assert decision.state is TradingState.ACTIVE
    assert decision.bar_ts == BAR_TS


def test_switching_kelly_off_gives_the_fixed_fraction():
    decision = decided(switches=Switches(kelly_position_sizing=False))
    np.testing.assert_array_equal(decision.size, [0.2, 0.0, 0.0])
    np.testing.assert_array_equal(decision.expected_return, decided().expected_return)


@pytest.mark.parametrize(
    ("edge", "sigma", "code"),
    [
        ((NAN, 0.1, 0.1), (0.01, 0.01, 0.01), "FORECAST_MISSING"),
        ((0.1, 0.1, 0.1), (NAN, 0.01, 0.01), "VOLATILITY_UNKNOWN"),
        ((0.1, 0.1, 0.1), (0.0, 0.01, 0.01), "VOLATILITY_UNKNOWN"),
    ],
)
def test_a_missing_input_is_neutral_and_allows_no_new_exposure(edge, sigma, code):
    flat, held = decided(edge, sigma), decided(edge, sigma, book=book((0.3, 0.0, 0.0)))
    for decision, weight in ((flat, 0.0), (held, 0.3)):
        assert decision.expected_return[0] == 0.0
        assert decision.size[0] == pytest.approx(weight)
        assert decision.max_weight[0] == pytest.approx(weight)
        assert (code, "AAPL") in codes(decision)
        assert decision.max_weight[1] == PARAMS.max_weight


def test_a_missing_input_does_not_excuse_a_weight_above_the_limit():
    decision = decided((NAN, 0.1, 0.1), book=book((0.7, 0.0, 0.0)))
    assert decision.max_weight[0] == PARAMS.max_weight


def test_a_symbol_without_a_bar_is_neutral_and_asks_for_nothing():
    decision = decided((NAN, 0.02, 0.02), (NAN, 0.01, 0.01), book=book(tradable=(False, True, True)))
    assert decision.expected_return[0] == 0.0
    assert decision.max_weight[0] == 0.0
    assert codes(decision) == []


def test_a_size_above_the_weight_limit_is_denied_with_both_figures():
    decision = decided((0.2, 0.0, 0.0))
    (denial,) = decision.denials
    assert (denial.code, denial.symbol, denial.limit) == ("WEIGHT_ABOVE_LIMIT", "AAPL", PARAMS.max_weight)
    assert denial.observed == decision.size[0] > denial.limit


def test_borrowed_exposure_is_denied():
    decision = decided(book=book((0.6, 0.6, 0.0)))
    (denial,) = [d for d in decision.denials if d.code == "GROSS_ABOVE_LIMIT"]
    assert denial.observed == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("peak", "state", "limit"),
    [
        ("110000", TradingState.ACTIVE, None),
        ("145000", TradingState.REDUCING, 0.2),
        ("200000", TradingState.HALTED, 0.4),
    ],
)
def test_a_drawdown_lowers_leverage_then_reduces_then_halts(peak, state, limit):
    decision = decided(book=book(peak=peak))
    assert decision.state is state
    found = [d for d in decision.denials if d.code == "DRAWDOWN_ABOVE_LIMIT"]
    assert [d.limit for d in found] == ([] if limit is None else [limit])


def test_deleveraging_scales_the_volatility_target():
    calm, deep = decided(), decided(book=book(peak="125000"))
    assert deep.leverage == pytest.approx(0.6 * calm.leverage)


def test_a_person_s_halt_is_kept_without_blaming_the_drawdown():
    decision = decided(book=book(state=TradingState.HALTED))
    assert decision.state is TradingState.HALTED
    assert decision.denials == ()


def test_correlated_symbols_get_less_leverage():
    loose, tight = decided(returns=returns(common=0.1)), decided(returns=returns(common=0.95))
    assert tight.leverage < loose.leverage <= PARAMS.max_leverage


LISTED = Switches(advanced_risk_engine=("AAPL", "IBM"))


def test_the_advanced_engine_hands_on_the_limit_that_the_chosen_weights_keep():
    params = replace(PARAMS, max_cvar=0.002)
    decision = decided((0.3, 0.3, 0.0), switches=LISTED, params=params)
    assert decision.tail == TailLimit(symbols=("AAPL", "IBM"), max_cvar=0.002, confidence=0.95, min_history=60)
    assert decided((0.3, 0.3, 0.0), params=params).tail is None


def test_the_advanced_engine_adds_nothing_to_symbols_that_move_with_all_others():
    params = replace(PARAMS, max_cvar=1.0)
    decision = decided(
        (0.3, 0.3, 0.3),
        switches=LISTED,
        params=params,
        returns=returns(common=0.97),
        book=book((0.1, 0.0, 0.0)),
    )
    assert [c for c in codes(decision) if c[0] == "CORRELATION_ABOVE_LIMIT"] == [
        ("CORRELATION_ABOVE_LIMIT", "AAPL"),
        ("CORRELATION_ABOVE_LIMIT", "IBM"),
    ]
    np.testing.assert_allclose(decision.max_weight, [0.1, params.max_weight, 0.0])


def test_within_the_limits_the_advanced_engine_changes_nothing():
    params = replace(PARAMS, max_cvar=1.0, max_correlation=1.0)
    plain, listed = (
        decided((0.02, 0.0, 0.0), params=params),
        decided((0.02, 0.0, 0.0), params=params, switches=LISTED),
    )
    np.testing.assert_array_equal(listed.max_weight, plain.max_weight)
    assert listed.denials == ()
    nothing = decided((-0.3, -0.3, -0.3), params=params, switches=LISTED)
    assert nothing.denials == ()


@given(
    st.tuples(*[st.one_of(st.just(NAN), st.floats(-0.7, 0.7))] * 3),
    st.tuples(*[st.one_of(st.just(NAN), st.just(0.0), st.floats(1e-4, 0.2))] * 3),
    st.tuples(*[st.floats(0, 0.5)] * 3),
    st.integers(100_000, 250_000),
    st.booleans(),
)
def test_whatever_comes_the_decision_is_finite_and_inside_the_limits(edge, sigma, weights, peak, advanced):
    switches = LISTED if advanced else Switches()
    decision = decided(edge, sigma, book=book(weights, peak=str(peak)), switches=switches)
    assert np.isfinite(decision.expected_return).all()
    assert ((decision.size >= 0) & (decision.size <= PARAMS.kelly_cap)).all()
    assert ((decision.max_weight >= 0) & (decision.max_weight <= PARAMS.max_weight)).all()
    assert 0.0 <= decision.leverage <= PARAMS.max_leverage
    assert all(math.isfinite(d.observed) and math.isfinite(d.limit) for d in decision.denials)
    unknown = ~(np.nan_to_num(np.array(sigma)) > 0) | np.isnan(edge)
    assert (decision.max_weight[unknown] <= np.array(weights)[unknown] + 1e-12).all()


def test_inputs_of_different_bars_or_symbols_are_refused():
    later = replace(forecast((0.1, 0.1, 0.1)), bar_ts=BAR_TS + timedelta(days=1))
    with pytest.raises(DataError, match="the same bar"):
        decided(forecast=later)
    with pytest.raises(DataError, match="the same symbols"):
        decided(forecast=forecast((0.1, 0.1)))
    with pytest.raises(DataError, match=r"returns must be \(n_window, 3\), was \(120, 2\)"):
        decided(returns=returns(120, 2))


def test_the_package_names_its_version_and_its_entry():
    assert risk.VERSION == "1.0.0"
    assert risk.run is decide
