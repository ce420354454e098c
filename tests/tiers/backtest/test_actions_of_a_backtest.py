"""A split changes shares and no money, a dividend is money: over the whole account, to the last digit."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backtests import LinearModel, happened, lots, market, of_closes, prices, short_params
from tests.tiers.backtest.test_simulator import column, run
from tests.trading.market.test_adjusted_prices import split_in_two
from tiers.backtest import engine
from tiers.backtest.engine import Config
from tiers.backtest.exact import Costs, Initial, Run
from tiers.backtest.trades import with_open
from tiers.contracts import Bars, Switches
from trading.books.accounting import ZERO, Holding, replay
from trading.strategies import BuyAndHold

SWITCHES = Switches(auto_trading=True, garch_volatility=False, advanced_risk_engine=(), neural_network_v2=())


def adds_up(result: Run, cash: int = 1000) -> None:
    """Equity - cash = realised + unrealised - fees + dividends, by the account and by its reductions."""
    account = replay(Decimal(cash), result.moves)
    assert account.cash == result.cash[-1]
    earned = ZERO
    for symbol, held in account.holdings.items():
        earned += held.realised_pnl + held.unrealised_pnl(result.prices[symbol]) - held.fees_paid + held.dividends
    assert earned == result.equity[-1] - cash
    reductions = with_open(result.moves, result.prices, result.ts[-1])
    assert float(sum((one.pnl for one in reductions), ZERO)) == pytest.approx(float(earned), abs=1e-7)


def test_a_split_doubles_the_shares_at_the_same_cost_and_the_equity_does_not_jump() -> None:
    bars = happened(prices([10, 10, 5, 5], [10, 10, 5, 5.5]), 2, "split", 2)
    result = run(bars, column(0.5, None, None, None))
    assert result.equity == [1000, 1000, 1000, 1050]
    assert replay(Decimal(1000), result.moves).holdings["AAPL"] == Holding(quantity=Decimal(100), cost=Decimal(500))
    (booked,) = result.all_booked
    assert (booked.quantity, booked.remaining, booked.cash) == (50, 100, 0)
    adds_up(result)


def test_without_the_action_the_same_prices_halve_what_is_held() -> None:
    assert run(prices([10, 10, 5, 5], [10, 10, 5, 5.5]), column(0.5, None, None, None)).equity[2] == 750


def test_shares_that_make_no_lot_are_paid_out_at_the_open_of_the_first_bar_without_it() -> None:
    bars = happened(prices([10, 10, 20.5], [10, 10, 21]), 2, "split", 1, per=2)
    result = run(bars, column(0.55, None, None))
    assert result.cash[1:] == [450, 450 + Decimal("10.25")]  # 55 shares are 27.5
    assert replay(Decimal(1000), result.moves).holdings["AAPL"].quantity == 27
    adds_up(result)


def test_a_reverse_split_of_fewer_shares_than_one_lot_ends_the_position() -> None:
    bars = happened(prices([10, 10, 1000.0], [10, 10, 1000.0]), 2, "split", 1, per=100)
    result = run(bars, column(0.5, None, None))
    assert result.equity[2] == 1000
    held = replay(Decimal(1000), result.moves).holdings["AAPL"]
    assert (held.quantity, held.cost) == (0, 0)
    adds_up(result)


def test_a_dividend_is_cash_for_what_is_held_when_the_bar_opens() -> None:
    bars = happened(prices([10, 10, 9.5, 9.5], [10, 10, 9.5, 9.5]), 2, "dividend", "0.5")
    result = run(bars, column(0.5, 1.0, None, None))  # what is bought at the open of the ex-day gets none
    assert result.all_booked[0].cash == 25
    assert result.equity == [1000, 1000, 1000, 1000]
    adds_up(result)


def test_who_is_short_pays_the_dividend() -> None:
    bars = happened(prices([10, 10, 9.5], [10, 10, 9.5]), 2, "dividend", "0.5")
    result = run(bars, column(-0.5, None, None))
    assert result.all_booked[0].cash == -25
    assert result.equity[2] == 1000
    adds_up(result)


def test_an_order_of_before_a_split_ends_and_one_of_before_a_dividend_fills() -> None:
    split = run(happened(prices([10, 5, 5], [10, 5, 5]), 1, "split", 2), column(0.5, None, None))
    assert (split.all_fills, [order.symbol for order in split.cancelled]) == ([], ["AAPL"])
    paid = run(happened(prices([10, 9.5, 9.5], [10, 9.5, 9.5]), 1, "dividend", "0.5"), column(0.5, None, None))
    assert (len(paid.all_fills), paid.all_booked, paid.cancelled) == (1, [], [])


def test_what_happened_while_a_symbol_had_no_bar_is_booked_at_its_next_one() -> None:
    bars = market(6, 2)
    bars.close[3, 0] = np.nan
    bars = happened(bars, 3, "split", 2)
    result = run(bars, np.vstack([[0.5, 0.5], np.full((5, 2), np.nan)]))
    assert [len(row) for row in result.booked] == [0, 0, 0, 0, 1, 0]


@given(
    value=st.integers(1, 9),
    per=st.integers(1, 9),
    amount=st.decimals("0.01", "0.4", places=2),
    weight=st.floats(-0.9, 0.9).filter(lambda w: abs(w) > 0.02),
    later=st.floats(-0.9, 0.9),
)
def test_every_account_adds_up(value: int, per: int, amount: Decimal, weight: float, later: float) -> None:
    bars = prices([10.0, 10.1, 10.3, 9.7, 10.2], [10.0, 10.2, 10.0, 9.9, 10.4])
    if value != per:
        bars = happened(bars, 2, "split", value, per=per)
    bars = happened(bars, 3, "dividend", amount)
    costs = Costs(fee_bps=Decimal("7.3"), slippage_bps=Decimal(3))
    adds_up(run(bars, column(weight, None, later, None, None), costs=costs))


# --- whole backtests ---


def config(bars: Bars) -> Config:
    return Config(initial=Initial(cash=Decimal(1_000_000)), lots=lots(bars), start_row=250, currency="USD")


def test_the_tiers_earn_on_a_stock_that_split_what_they_earn_on_one_that_did_not() -> None:
    """To the lots: what a split does to the steps of prices and quantities is all that differs."""
    whole = market(400, 2, seed=4)
    plain, split = (
        engine.run_helios(bars, LinearModel(), config(bars), params=short_params(), switches=SWITCHES)
        for bars in (whole, split_in_two(whole))
    )
    assert plain.run.targets.shape == split.run.targets.shape
    np.testing.assert_array_equal(split.log.sigma, plain.log.sigma)
    np.testing.assert_array_equal(split.log.probability, plain.log.probability)
    for one, other in ((plain, split), (plain.baseline, split.baseline)):
        np.testing.assert_allclose(other.run.equity_curve, one.run.equity_curve, rtol=1e-4)
    assert [each.symbol for each in split.baseline.run.all_booked] == ["S00"]


def test_decisions_up_to_a_bar_know_nothing_of_later_actions() -> None:
    bars = market(400, 2, seed=4)
    told = happened(happened(bars, 350, "split", 3), 360, "dividend", "1.5")
    plain, later = (
        engine.run_helios(each, LinearModel(), config(each), params=short_params(), switches=SWITCHES)
        for each in (bars, told)
    )
    n = 350 - 250
    assert later.run.orders[:n] == plain.run.orders[:n]
    assert later.run.equity[:n] == plain.run.equity[:n]
    for name in ("features", "probability", "sigma", "expected_return", "weights"):
        np.testing.assert_array_equal(getattr(later.log, name)[:n], getattr(plain.log, name)[:n])


def test_buy_and_hold_buys_what_splits_between_its_first_two_bars_a_bar_later() -> None:
    bars = happened(prices([10, 5, 5, 5.0], [10, 5, 5, 5.5]), 1, "split", 2)
    result = engine.run_strategy(bars, BuyAndHold(), replace(config(bars), start_row=0))
    assert [len(row) for row in result.run.fills] == [0, 0, 1, 0]
    assert result.run.equity[-1] > 1_090_000


def test_buy_and_hold_gives_who_begins_late_its_part_of_the_money_at_the_start() -> None:
    late = np.array([np.nan] * 5 + [20.0] * 3)
    bars = of_closes(np.column_stack([[10, 10, 8, 12, 6, 6, 6, 6], late]))
    bars = happened(happened(bars, 2, "dividend", 2), 4, "split", 2)
    free = replace(config(bars), start_row=0, costs=Costs(fee_bps=ZERO, slippage_bps=ZERO))
    run = engine.run_strategy(bars, BuyAndHold(), free).run
    bought = [float(fill.quantity * fill.price) for row in run.fills for fill in row]
    assert bought == pytest.approx([500_000.0, 500_000.0], rel=1e-6)


def test_a_strategy_of_prices_sees_no_split_and_the_sentences_tell_what_was_booked() -> None:
    bars = happened(split_in_two(market(400, 2, seed=4)), 320, "dividend", "0.25")
    result = engine.run_strategy(bars, BuyAndHold(), config(bars))
    paid = sum(each.cash for each in result.run.all_booked if not each.action.is_split)
    assert (
        f"Booked on what was held: 1 split (S00 split 2 for 1 on 2010-10-28) and 1 dividend of ${paid:,.2f} together."
        in (result.reasons)
    )
