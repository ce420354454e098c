"""The order of events at a bar, money to the cent, and what happens at the edges of history."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.backtests import lots, market, prices
from tiers.backtest.exact import Costs, Initial, Run, Step, last_closes, simulate
from tiers.backtest.weights_decider import WeightsDecider
from tiers.contracts import Bars, BookView, OrderIntent, Side, TargetWeights, TradingState
from tiers.contracts.errors import DataError
from trading.books.accounting import exact, replay
from trading.market.lots import quantity_steps

FREE = Costs(fee_bps=Decimal(0), slippage_bps=Decimal(0))


def run(
    bars: Bars,
    weights: np.ndarray,
    *,
    costs: Costs = FREE,
    cash: int = 1000,
    step: str = "1",
    start_row: int = 0,
) -> Run:
    """The weights through the simulator; whole shares by default."""
    table = lots(bars, step)
    decider = WeightsDecider(weights, name="test", lots=table, key="test")
    return simulate(
        bars,
        decider,
        initial=Initial(cash=Decimal(cash)),
        costs=costs,
        steps=quantity_steps(table),
        start_row=start_row,
        decided=decider.decided,
    )


def column(*values: float | None) -> np.ndarray:
    return np.array([[np.nan if value is None else value] for value in values])


def test_a_decision_at_the_close_fills_at_the_next_open_with_slippage_and_fee() -> None:
    bars = prices([10.0, 11.0, 12.0], [10.0, 12.0, 12.5])
    result = run(bars, column(0.5, None, None), costs=Costs(fee_bps=Decimal(10), slippage_bps=Decimal(100)))
    assert result.fills[0] == ()
    (fill,) = result.fills[1]
    assert fill.quantity == 50  # half of 1000 at the close of 10
    assert fill.price == Decimal("11.11")  # the open of 11, one percent worse
    assert fill.fee == Decimal("0.5555")
    assert result.cash == [1000, Decimal("443.9445"), Decimal("443.9445")]
    assert result.equity == [1000, Decimal("1043.9445"), Decimal("1068.9445")]
    np.testing.assert_allclose(result.held[:, 0], [0.0, 600 / 1043.9445, 625 / 1068.9445])


def test_orders_of_the_last_bar_stay_unfilled() -> None:
    result = run(prices([10.0, 10.0], [10.0, 10.0]), column(None, 1.0))
    assert result.all_fills == []
    assert [order.quantity for order in result.open_orders] == [100]
    assert result.equity == [1000, 1000]


def test_a_sale_to_zero_sells_exactly_what_is_held() -> None:
    result = run(prices([10.0] * 4, [10.0, 13.0, 7.0, 9.0]), column(0.77, None, 0.0, None), step="0.001")
    bought, sold = result.all_fills
    assert bought.quantity == sold.quantity == 77
    assert result.held[3, 0] == 0.0


def test_what_the_cash_does_not_cover_stays_unbought() -> None:
    result = run(prices([10.0, 20.0], [10.0, 20.0]), column(1.0, None))
    (fill,) = result.all_fills
    assert fill.quantity == 50  # 100 were ordered at 10, the open came at 20
    assert result.cash[-1] == 0


def test_an_order_without_cash_for_a_single_lot_is_recorded_as_unfilled() -> None:
    result = run(prices([10.0, 2000.0, 10.0], [10.0, 2000.0, 10.0]), column(1.0, None, None))
    assert result.all_fills == []
    assert [order.quantity for order in result.unfilled] == [100]
    assert result.open_orders == []


def test_an_order_of_a_weight_strategy_waits_for_its_symbols_next_bar() -> None:
    bars = replace(
        prices([10.0, 10.0, 11.0], [10.0, 10.0, 11.0]),
        open=column(10.0, None, 11.0),
        close=column(10.0, None, 11.0),
    )
    result = run(bars, column(0.5, None, None))
    assert [len(row) for row in result.fills] == [0, 0, 1]
    assert result.fills[2][0].price == 11


class EveryBar:
    """Wants to hold 10 shares of its first symbol more at every bar that it has; decides on the others as well."""

    def __init__(self, *states: TradingState, side: Side = Side.BUY) -> None:
        self.states, self.side, self.seen = states, side, []

    def __call__(self, row: int, book: BookView) -> Step:
        self.seen.append(book)
        intent = OrderIntent(
            client_order_id=f"order-{row}",
            symbol=book.symbols[0],
            side=self.side if row else Side.BUY,
            quantity=Decimal(10),
            reference_price=Decimal(10),
            bar_ts=book.bar_ts,
        )
        targets = TargetWeights(
            bar_ts=book.bar_ts,
            symbols=book.symbols,
            weights=book.weights,
            previous=book.weights,
            turnover=0.0,
            method="test",
            reason="more",
        )
        state = (*self.states, *[TradingState.ACTIVE] * (row + 1))[row]
        return Step(targets=targets, intents=(intent,) if book.tradable[0] else (), state=state)


def decide_every_bar(bars: Bars, decider: EveryBar) -> Run:
    steps = quantity_steps(lots(bars, "1"))
    return simulate(bars, decider, initial=Initial(cash=Decimal(1000)), costs=FREE, steps=steps)


def closed(*is_closed: bool) -> Bars:
    """A market at 10, closed on some of the days."""
    shut = column(*[None if each else 10.0 for each in is_closed])
    return replace(prices([10.0] * len(shut), [10.0] * len(shut)), open=shut, close=shut)


A, R, H = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED


def test_a_decision_leaves_orders_of_a_closed_market_alone_and_sees_them() -> None:
    decider = EveryBar()
    result = decide_every_bar(closed(False, True, True, False), decider)
    assert result.cancelled == []
    assert [(fill.client_order_id, fill.bar_ts) for fill in result.all_fills] == [("order-0", result.ts[3])]
    first, second, third, fourth = decider.seen
    assert [first.waiting, second.waiting, third.waiting, fourth.waiting] == [{}, {"AAPL": 10}, {"AAPL": 10}, {}]
    assert (second.weights[0], second.held_weights[0], second.free_cash) == (0.1, 0.0, 900)
    assert result.held[:, 0].tolist() == [0.0, 0.0, 0.0, 0.1]


@pytest.mark.parametrize(
    ("side", "state", "ended"), [(Side.BUY, R, True), (Side.SELL, R, False), (Side.BUY, H, True), (Side.SELL, H, True)]
)
def test_a_decision_ends_the_waiting_orders_that_the_state_of_the_book_forbids(
    side: Side, state: TradingState, ended: bool
) -> None:
    result = decide_every_bar(closed(False, False, True, False), EveryBar(A, A, state, side=side))
    assert [order.client_order_id for order in result.cancelled] == ["order-1"] * ended
    assert len(result.all_fills) == 2 - ended


@pytest.mark.parametrize(("n_days", "ended"), [(7, False), (8, True)])
def test_an_order_whose_market_has_no_bar_for_longer_than_a_week_ends(n_days: int, ended: bool) -> None:
    result = decide_every_bar(closed(False, *[True] * n_days, False), EveryBar())
    assert result.cancelled_by_symbol == ({"AAPL": 1} if ended else {})
    assert len(result.all_fills) == 1 - ended


@pytest.mark.parametrize(("n_days", "ended"), [(7, False), (8, True)])
def test_it_ends_as_well_where_no_symbol_had_a_bar_and_nothing_was_decided(n_days: int, ended: bool) -> None:
    days = [10.0] * (n_days + 2)
    result = run(prices(days, days).rows(slice(0, None, n_days + 1)), column(0.5, None))
    assert result.cancelled_by_symbol == ({"AAPL": 1} if ended else {})
    assert [fill.bar_ts for fill in result.all_fills] == [result.ts[1]] * (1 - ended)
    assert result.open_orders == []


def test_the_book_that_a_decision_sees() -> None:
    decider = EveryBar(R)
    decide_every_bar(prices([10.0, 10.0, 10.0], [10.0, 20.0, 5.0]), decider)
    first, second, third = decider.seen
    assert (first.state, second.state) == (TradingState.ACTIVE, TradingState.REDUCING)
    assert second.quantity == (10,)
    assert (second.equity, second.peak_equity) == (1100, 1100)
    assert (third.equity, third.peak_equity) == (900, 1100)  # 20 shares that lost, and the peak stays
    assert third.price == (5,)
    assert third.bar_ts.tzinfo is not None


def test_earlier_rows_give_last_prices_and_nothing_else() -> None:
    bars = replace(
        market(5, 2),
        close=np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan], [np.nan, 9.0], [5.0, 9.0]]),
    )
    assert last_closes(bars, 3) == {"S00": 3}
    result = run(bars, np.full((5, 2), np.nan), start_row=3)
    assert len(result.ts) == len(result.equity) == len(result.fills) == 2
    assert result.prices == {"S00": 5, "S01": 9}


@pytest.mark.parametrize("start_row", [-1, 3, 99])
def test_a_start_row_outside_of_history_is_named(start_row: int) -> None:
    with pytest.raises(DataError, match=rf"start_row must be from 0 to 2, was {start_row}"):
        run(prices([1.0] * 3, [1.0] * 3), column(None, None, None), start_row=start_row)


@pytest.mark.parametrize("bps", ["-1", "10000", "NaN", "Infinity"])
def test_costs_outside_of_sense_are_refused(bps: str) -> None:
    with pytest.raises(DataError, match="fee_bps must be from 0 to below 10000"):
        Costs(fee_bps=Decimal(bps))


@pytest.mark.parametrize("cash", ["0", "-5", "NaN"])
def test_an_account_needs_money(cash: str) -> None:
    with pytest.raises(DataError, match="cash must be more than 0"):
        Initial(cash=Decimal(cash))


def test_progress_counts_every_bar() -> None:
    seen: list[tuple[int, int]] = []
    bars = prices([1.0] * 4, [1.0] * 4)
    simulate(
        bars,
        EveryBar(),
        initial=Initial(),
        costs=FREE,
        steps=quantity_steps(lots(bars)),
        start_row=1,
        report=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


worlds = st.tuples(st.integers(0, 5_000), st.integers(1, 4), st.sampled_from([0.0, 0.2]), st.integers(0, 30))


@given(world=worlds)
def test_the_account_is_the_sum_of_its_fills_and_never_overdrawn(world: tuple[int, int, float, int]) -> None:
    seed, n_symbols, gaps, bps = world
    bars = market(40, n_symbols, seed=seed, gaps=gaps)
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 1.0 / n_symbols, (40, n_symbols))
    weights[(rng.random(weights.shape) < 0.6) | np.isnan(bars.close)] = np.nan
    costs = Costs(fee_bps=Decimal(bps), slippage_bps=Decimal(bps))
    result = run(bars, weights, costs=costs, cash=10_000, step="0.01")
    assert all(cash >= 0 for cash in result.cash)
    known: dict[str, Decimal] = {}
    fills = []
    for row in range(40):
        fills += result.fills[row]
        for place, symbol in enumerate(bars.symbols):
            if np.isfinite(bars.close[row, place]):
                known[symbol] = exact(bars.close[row, place])
        account = replay(Decimal(10_000), fills)
        assert result.equity[row] == account.equity(known)
        assert result.cash[row] == account.cash
    assert all(fill.bar_ts > order.bar_ts for order, fill in _pairs(result))


def _pairs(result: Run) -> list[tuple[OrderIntent, object]]:
    orders = {order.client_order_id: order for row in result.orders for order in row}
    return [(orders[fill.client_order_id], fill) for fill in result.all_fills]


@given(seed=st.integers(0, 5_000), bps=st.integers(0, 50))
def test_one_symbol_equals_a_plain_float_loop(seed: int, bps: int) -> None:
    bars = market(60, 1, seed=seed)
    rng = np.random.default_rng(seed)
    weights = np.where(rng.random((60, 1)) < 0.3, rng.choice([0.0, 0.4, 0.8], (60, 1)), np.nan)
    result = run(
        bars,
        weights,
        costs=Costs(fee_bps=Decimal(bps), slippage_bps=Decimal(bps)),
        cash=100_000,
        step="0.000001",
    )
    cash, held, pending = 100_000.0, 0.0, 0.0
    for row in range(60):
        if pending:
            price = bars.open[row, 0] * (1 + np.sign(pending) * bps / 1e4)
            cash -= pending * price + abs(pending) * price * bps / 1e4
            held += pending
            pending = 0.0
        equity = cash + held * bars.close[row, 0]
        assert float(result.equity[row]) == pytest.approx(equity, rel=1e-6)
        if np.isfinite(weights[row, 0]):
            pending = weights[row, 0] * equity / bars.close[row, 0] - held
            if abs(pending) * bars.close[row, 0] < 1.0:
                pending = 0.0
