"""Two arms, one book: who speaks for which symbol, and that no mixture breaks a limit of the book."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import BAR_TS, SYMBOLS, book, forecast, returns, risk_decision
from tiers.challenge import merge
from tiers.contracts import Denial, TargetWeights, TradingState
from tiers.contracts.parameters import PortfolioParams, RiskParams
from tiers.contracts.weights import quantised
from tiers.portfolio.rebalance import rebalance

RISK, PORTFOLIO = RiskParams(), PortfolioParams()
ALL_TRADABLE = (True, True, True)


def targets_of(weights, previous=(0.0, 0.0, 0.0), **changes):
    weights, previous = np.array(weights, dtype=float), np.array(previous, dtype=float)
    made = TargetWeights(
        bar_ts=BAR_TS,
        symbols=SYMBOLS,
        weights=weights,
        previous=previous,
        turnover=float(np.abs(weights - previous).sum()),
        method="mean_variance",
        reason="rebalance",
    )
    return replace(made, **changes)


def mixed(champion, challenger, served, risk=None, params=PORTFOLIO, tradable=ALL_TRADABLE):
    return merge.targets(
        champion,
        np.array(challenger, dtype=float),
        served,
        risk=risk or risk_decision((0.0, 0.0, 0.0)),
        returns=returns(),
        book=book(tradable=tradable),
        params=params,
    )


def test_each_arm_forecasts_its_own_symbols():
    own, other = forecast((0.3, 0.3, 0.3)), forecast((-0.2, -0.2, -0.2), horizon_bars=2)
    other = replace(other, model_names=("new",) * 3)
    both = merge.forecasts(own, other, {"GOOG"})
    assert both.probability[[0, 2]].tobytes() == own.probability[[0, 2]].tobytes()
    assert both.probability[1].tobytes() == other.probability[1].tobytes()
    assert both.model_names == (own.model_names[0], "new", own.model_names[2])
    assert both.horizon_bars == (5, 2, 5)  # each at its own


def test_a_symbol_that_the_challenger_knows_nothing_of_is_neutral():
    other = forecast((np.nan, np.nan, np.nan))
    both = merge.forecasts(forecast((0.3, 0.3, 0.3)), other, {"IBM"})
    assert np.isnan(both.probability).all(axis=1).tolist() == [False, False, True]


def test_sizes_and_bounds_come_by_symbol_and_the_book_from_the_champion():
    own = risk_decision((0.1, 0.1, 0.1), leverage=0.8, size=(0.3, 0.3, 0.3))
    other = risk_decision(
        (0.2, 0.2, 0.2), leverage=0.1, size=(0.1, 0.2, 0.05), max_weight=(9.0, 9.0, 9.0), state=TradingState.HALTED
    )
    both = merge.risks(own, other, {"GOOG"}, RISK)
    assert both.size.tolist() == [0.3, 0.2, 0.3]
    assert both.expected_return.tolist() == [0.1, 0.2, 0.1]
    assert both.max_weight[1] == RISK.max_weight  # never above what the book allows
    assert (both.leverage, both.state) == (0.8, TradingState.ACTIVE)


def test_the_whole_book_follows_the_challenger_once_it_serves_every_symbol():
    own = risk_decision((0.1, 0.1, 0.1), leverage=0.8, state=TradingState.REDUCING)
    other = risk_decision((0.1, 0.1, 0.1), leverage=5.0)
    both = merge.risks(own, other, SYMBOLS, RISK)
    assert both.leverage == RISK.max_leverage
    assert both.state is TradingState.REDUCING  # the more careful of both


def test_refusals_of_the_book_stay_and_those_of_symbols_follow_their_arm():
    gross = Denial(code="GROSS_ABOVE_LIMIT", observed=1.2, limit=1.0)
    own = [gross, *(Denial(code="A", observed=1.0, limit=0.0, symbol=s) for s in SYMBOLS)]
    theirs = [Denial(code="B", observed=1.0, limit=0.0, symbol=s) for s in SYMBOLS]
    both = merge.denials(own, theirs, {"GOOG"})
    assert [(d.code, d.symbol) for d in both] == [
        ("GROSS_ABOVE_LIMIT", ""),
        ("A", "AAPL"),
        ("A", "IBM"),
        ("B", "GOOG"),
    ]


def test_each_arm_chooses_the_weights_of_its_symbols():
    both = mixed(targets_of((0.2, 0.1, 0.0)), (0.0, 0.3, 0.4), {"GOOG"})
    assert both.weights.tolist() == [0.2, 0.3, 0.0]
    assert both.turnover == pytest.approx(0.5)


def test_a_challenger_is_cut_to_the_bound_of_its_symbol():
    risk = risk_decision((0.0, 0.0, 0.0), max_weight=(0.4, 0.15, 0.4))
    assert mixed(targets_of((0.2, 0.1, 0.0)), (0.0, 0.9, 0.0), {"GOOG"}, risk).weights[1] == 0.15
    assert mixed(targets_of((0.2, 0.1, 0.0)), (0.0, -0.9, 0.0), {"GOOG"}, risk).weights[1] == 0.0


def test_what_the_leverage_does_not_allow_is_taken_from_the_challenger():
    params = PortfolioParams(max_turnover=2.0)
    risk = risk_decision((0.0, 0.0, 0.0), leverage=0.5)
    both = mixed(targets_of((0.3, 0.1, 0.1)), (0.0, 0.4, 0.4), {"GOOG", "IBM"}, risk, params)
    assert both.weights.tolist() == pytest.approx([0.3, 0.1, 0.1], abs=2e-6)
    both = mixed(targets_of((0.3, 0.1, 0.0)), (0.0, 0.4, 0.4), {"GOOG"}, risk, params)
    assert both.weights.tolist() == pytest.approx([0.3, 0.2, 0.0], abs=2e-6)


def test_a_challenger_that_wants_too_much_at_once_goes_part_of_the_way():
    champion = targets_of((0.2, 0.2, 0.0), (0.1, 0.2, 0.0))
    both = mixed(champion, (0.0, 0.2, 0.4), {"IBM"}, params=PortfolioParams(max_turnover=0.3))
    assert both.weights.tolist() == pytest.approx([0.2, 0.2, 0.2], abs=2e-6)
    assert both.turnover <= 0.3 + 1e-9


def test_symbols_without_a_bar_and_halted_books_stay_with_the_champion():
    champion = targets_of((0.2, 0.1, 0.0), (0.2, 0.1, 0.0))
    closed = mixed(champion, (0.0, 0.0, 0.0), set(SYMBOLS), tradable=(False, True, True))
    assert closed.weights.tolist() == [0.2, 0.0, 0.0]
    halted = risk_decision((0.0, 0.0, 0.0), state=TradingState.HALTED)
    assert mixed(champion, (0.0, 0.0, 0.0), set(SYMBOLS), halted) is champion


def test_a_reducing_book_is_only_shrunk_by_the_challenger_too():
    champion = targets_of((0.1, 0.1, 0.0), (0.1, 0.1, 0.0))
    reducing = risk_decision((0.0, 0.0, 0.0), state=TradingState.REDUCING)
    both = mixed(champion, (0.3, 0.05, 0.3), set(SYMBOLS), reducing)
    assert both.weights.tolist() == [0.1, 0.05, 0.0]
    assert both.reason == "reducing"


weight = st.floats(0.0, 0.6)
three = st.tuples(weight, weight, weight)
some = st.sets(st.sampled_from(SYMBOLS))


@given(
    held=three,
    expected=st.tuples(*[st.floats(-0.001, 0.001)] * 3),
    wanted=st.tuples(*[st.floats(-0.5, 2.0)] * 3),
    served=some,
    leverage=st.floats(0.0, 1.5),
    bound=three,
    state=st.sampled_from(TradingState),
)
def test_no_mixture_breaks_a_limit_that_the_champion_keeps(held, expected, wanted, served, leverage, bound, state):
    view = book(held)
    risk = risk_decision(expected, leverage=leverage, max_weight=bound, state=state)
    champion = rebalance(risk=risk, returns=returns(), book=view, params=PORTFOLIO)
    both = mixed(champion, wanted, served, risk)
    mine = merge.mask(SYMBOLS, served)
    np.testing.assert_array_equal(both.weights[~mine], champion.weights[~mine])
    drift = np.where(
        (view.weights > risk.max_weight) & (view.weights < risk.max_weight + PORTFOLIO.min_weight_change),
        view.weights,
        0,
    )
    if state is not TradingState.HALTED:
        assert (
            both.weights[mine] <= np.maximum(np.maximum(risk.max_weight, drift), champion.weights)[mine] + 1e-9
        ).all()
    assert both.weights.sum() <= max(leverage, champion.weights.sum()) + 1e-9
    assert np.abs(both.weights - view.weights).sum() <= max(PORTFOLIO.max_turnover, champion.turnover) + 1e-5
    assert (both.weights >= np.minimum(0.0, champion.weights)).all()


@given(
    held=three,
    expected=st.tuples(*[st.floats(-0.001, 0.001)] * 3),
    served=some,
    leverage=st.floats(0.0, 1.5),
    bound=three,
    state=st.sampled_from(TradingState),
)
def test_two_arms_that_agree_give_the_champions_answer_bit_by_bit(held, expected, served, leverage, bound, state):
    risk = risk_decision(expected, leverage=leverage, max_weight=bound, state=state)
    both = merge.risks(risk, risk, served, RISK)
    for name in ("sigma", "expected_return", "size", "max_weight"):
        assert getattr(both, name).tobytes() == getattr(risk, name).tobytes()
    assert (both.leverage, both.state, both.denials) == (risk.leverage, risk.state, risk.denials)
    champion = rebalance(risk=risk, returns=returns(), book=book(held), params=PORTFOLIO)
    agreed = mixed(champion, champion.weights, served, risk)
    assert agreed.weights.tobytes() == champion.weights.tobytes()
    assert (agreed.turnover, agreed.reason, agreed.denials) == (champion.turnover, champion.reason, champion.denials)


def test_weights_lie_on_the_grid_of_the_targets():
    both = mixed(targets_of((0.2, 0.1, 0.0)), (0.0, 0.12345678, 0.0), {"GOOG"})
    assert both.weights[1] == quantised(np.array([0.12345678]))[0] == 0.123456
