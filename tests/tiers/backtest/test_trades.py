"""Fills become trades by average cost; what they earn is what the account gained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.backtest.trades import Direction, flat_to_flat, reductions_of, with_open
from trading.books.accounting import Fill, replay, rounded

START = datetime(2020, 1, 2, 21, tzinfo=UTC)


def fill(day: int, side: str, quantity: str, price: str, *, fee: str = "0", symbol: str = "AAPL") -> Fill:
    return Fill(
        client_order_id=f"{symbol}-{day}",
        symbol=symbol,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        notional=rounded(Decimal(quantity) * Decimal(price)),
        fee=Decimal(fee),
        bar_ts=START + timedelta(days=day),
    )


def test_one_purchase_and_one_sale_are_one_reduction() -> None:
    trades, left = reductions_of([fill(0, "BUY", "10", "100", fee="1"), fill(3, "SELL", "10", "110", fee="2")])
    assert left == {}
    (trade,) = trades
    assert trade.direction is Direction.LONG
    assert (trade.entry_price, trade.exit_price) == (100, 110)
    assert trade.fees == 3
    assert trade.pnl == 97
    assert trade.return_pct == pytest.approx(9.7)
    assert (trade.opened_ts, trade.closed_ts) == (START, START + timedelta(days=3))


def test_purchases_average_and_each_reduction_closes_its_share() -> None:
    fills = [
        fill(0, "BUY", "10", "100", fee="4"),
        fill(1, "BUY", "30", "120", fee="4"),  # average 115, entry fees 8
        fill(2, "SELL", "10", "125", fee="1"),
        fill(3, "SELL", "30", "105", fee="3"),
    ]
    first, second = reductions_of(fills)[0]
    assert first.entry_price == second.entry_price == 115
    assert (first.fees, first.pnl) == (3, 97)  # a quarter of 8, plus 1
    assert (second.fees, second.pnl) == (9, -309)


def test_a_short_position_earns_when_the_price_falls() -> None:
    (trade,) = reductions_of([fill(0, "SELL", "5", "50"), fill(1, "BUY", "5", "40")])[0]
    assert trade.direction is Direction.SHORT
    assert trade.pnl == 50


def test_a_fill_across_zero_closes_first_and_opens_the_rest_with_its_part_of_the_fee() -> None:
    trades, left = reductions_of([fill(0, "BUY", "10", "100"), fill(1, "SELL", "15", "110", fee="3")])
    assert trades[0].pnl == 98  # two thirds of the fee
    assert left["AAPL"].quantity == -5
    assert left["AAPL"].cost == 550
    assert left["AAPL"].fees == 1
    assert left["AAPL"].opened_ts == START + timedelta(days=1)


def test_what_is_still_held_is_open_at_the_last_price() -> None:
    at = START + timedelta(days=9)
    fills = [fill(0, "BUY", "4", "25", symbol="IBM"), fill(1, "BUY", "2", "50")]
    trades = with_open(fills, {"AAPL": Decimal(60), "IBM": Decimal(20)}, at)
    assert [(t.symbol, t.is_open, t.pnl, t.closed_ts) for t in trades] == [
        ("AAPL", True, 20, at),
        ("IBM", True, -20, at),
    ]


def test_without_fills_there_is_no_reduction() -> None:
    assert reductions_of([]) == ([], {})


random_fills = st.lists(
    st.tuples(
        st.sampled_from(["AAPL", "IBM"]),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 40),
        st.decimals("1", "200", places=2),
        st.decimals("0", "5", places=2),
    ),
    max_size=25,
)


@given(steps=random_fills, last=st.decimals("1", "200", places=2))
def test_the_profits_of_all_reductions_are_the_gain_of_the_account(
    steps: list[tuple[str, str, int, Decimal, Decimal]], last: Decimal
) -> None:
    fills = [
        fill(day, side, str(quantity), str(price), fee=str(fee), symbol=symbol)
        for day, (symbol, side, quantity, price, fee) in enumerate(steps)
    ]
    prices = {"AAPL": last, "IBM": last + 1}
    account = replay(Decimal(10_000), fills)
    trades = with_open(fills, prices, START)
    gain = account.equity(prices) - 10_000
    assert sum((t.pnl for t in trades), Decimal(0)) == pytest.approx(gain, abs=Decimal("1e-12"))
    assert sum((t.fees for t in trades), Decimal(0)) == pytest.approx(
        sum((f.fee for f in fills), Decimal(0)), abs=Decimal("1e-12")
    )
    held = {t.symbol: t.quantity for t in trades if t.is_open}
    assert held == {s: abs(account.quantity(s)) for s in prices if account.quantity(s)}


@given(steps=random_fills)
def test_a_trade_runs_from_flat_to_flat(steps: list[tuple[str, str, int, Decimal, Decimal]]) -> None:
    """The slow twin trades unit by unit: whenever nothing is held, the cash since it was so is a trade's profit."""
    fills = [
        fill(day, side, str(quantity), str(price), fee=str(fee), symbol=symbol)
        for day, (symbol, side, quantity, price, fee) in enumerate(steps)
    ]
    held, cash, expected = {"AAPL": 0, "IBM": 0}, {"AAPL": Decimal(0), "IBM": Decimal(0)}, []
    for one in fills:
        for _ in range(int(one.quantity)):
            step = 1 if one.side == "BUY" else -1
            held[one.symbol] += step
            cash[one.symbol] -= step * one.price + one.fee / one.quantity
            if held[one.symbol] == 0:
                expected.append((one.bar_ts, cash[one.symbol]))
                cash[one.symbol] = Decimal(0)
    found = flat_to_flat(with_open(fills, {"AAPL": Decimal(1), "IBM": Decimal(1)}, START))
    assert [ended for ended, _ in found] == [ended for ended, _ in expected]
    assert [float(pnl) for _, pnl in found] == pytest.approx([float(pnl) for _, pnl in expected], abs=1e-9)


def test_a_position_that_was_sold_in_three_parts_is_one_trade_and_three_reductions() -> None:
    sales = [fill(day, "SELL", "1", price) for day, price in ((1, "12"), (2, "13"), (3, "5"))]
    found = with_open([fill(0, "BUY", "3", "10"), *sales], {}, START)
    assert [one.pnl for one in found] == [2, 3, -5]  # two of three are won
    assert flat_to_flat(found) == [(START + timedelta(days=3), Decimal(0))]  # and the trade is not
