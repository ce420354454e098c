"""The paper venue's arithmetic: next open, slippage, fee, and never more than the cash."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.books.accounting import Account, Holding, OpenOrder
from trading.venues.paper.matching import fill_price, match, settle

T = datetime(2024, 1, 2, tzinfo=UTC)
NEXT = T + timedelta(days=1)
COSTS = {"fee_bps": D(10), "slippage_bps": D(5)}


def order(side="BUY", quantity="10", symbol="AAPL", bar_ts=T):
    return OpenOrder(
        client_order_id=f"h-{symbol}-{side}", symbol=symbol, side=side, quantity=D(quantity), bar_ts=bar_ts
    )


def test_slippage_moves_the_price_against_the_order():
    assert fill_price(D(100), "BUY", D(5)) == D("100.05")
    assert fill_price(D(100), "SELL", D(5)) == D("99.95")


def test_a_covered_order_fills_whole_at_the_open():
    fill = match(order(), D(100), bar_ts=NEXT, cash=D(5000), quantity_step=D(1), **COSTS)
    assert (fill.quantity, fill.price, fill.notional, fill.fee) == (
        D(10),
        D("100.05"),
        D("1000.5"),
        D("1.0005"),
    )
    assert fill.bar_ts == NEXT


def test_a_purchase_shrinks_to_what_the_cash_covers():
    fill = match(order(), D(100), bar_ts=NEXT, cash=D(500), quantity_step=D(1), **COSTS)
    assert fill.quantity == 4


def test_a_purchase_without_money_for_one_lot_does_not_fill():
    assert match(order(), D(100), bar_ts=NEXT, cash=D(100), quantity_step=D(1), **COSTS) is None


def test_a_sale_needs_no_cash():
    assert match(order("SELL"), D(100), bar_ts=NEXT, cash=D(0), quantity_step=D(1), **COSTS).quantity == 10


def test_sales_are_settled_first_so_that_their_money_can_be_spent():
    account = Account(D(0), {"IBM": Holding(quantity=D(20), cost=D(1000))})
    done = settle(
        account,
        [order("BUY", "9", "AAPL"), order("SELL", "20", "IBM")],
        {"AAPL": D(100), "IBM": D(50)},
        bar_ts=NEXT,
        steps={"AAPL": D(1), "IBM": D(1)},
        **COSTS,
    )
    assert [(o.symbol, f.quantity) for o, f in done] == [("IBM", 20), ("AAPL", 9)]
    assert account.cash >= 0


def test_an_order_waits_for_a_bar_of_its_symbol():
    done = settle(Account(D(1000)), [order()], {"IBM": D(50)}, bar_ts=NEXT, steps={"AAPL": D(1)}, **COSTS)
    assert done == []


def test_an_order_never_fills_in_the_bar_of_its_own_decision():
    done = settle(Account(D(1000)), [order()], {"AAPL": D(50)}, bar_ts=T, steps={"AAPL": D(1)}, **COSTS)
    assert done == []


@pytest.mark.parametrize("open_price", ["100", "1e-5", "1.2e-6", "2.4e-8", "4e-9"])
@pytest.mark.parametrize(("side", "factor"), [("BUY", "1.0005"), ("SELL", "0.9995")])
def test_slippage_is_its_part_of_a_price_of_any_size(open_price, side, factor):
    assert fill_price(D(open_price), side, D(5)) == D(open_price) * D(factor)


@given(
    st.decimals("0.00000001", "1", places=8), st.decimals("0.00001", "10", places=8), st.decimals("0", "100", places=2)
)
def test_an_amount_is_the_exact_one_to_half_a_satoshi_in_a_book_of_any_currency(price, quantity, fee_bps):
    """Of a coin priced in Bitcoin as of a stock: a fee of a few satoshis is rounded to a part that can be seen."""
    made = OpenOrder(client_order_id="h", symbol="ETH", side="SELL", quantity=quantity, bar_ts=T)
    costs = {"fee_bps": fee_bps, "slippage_bps": D(2)}
    fill = match(made, price, bar_ts=NEXT, cash=D(0), quantity_step=D("1e-8"), **costs)
    if fill is not None:
        exact = quantity * price * D("0.9998")
        assert abs(fill.notional - exact) <= D("0.5e-8")
        assert abs(fill.fee - exact * fee_bps / 10_000) <= D("0.5e-8") * (1 + fee_bps / 10_000)


def test_a_purchase_worth_less_than_the_smallest_amount_does_not_fill():
    order_ = order(quantity="1000000")
    assert match(order_, D("1e-12"), bar_ts=NEXT, cash=D("4e-9"), quantity_step=D("1e-8"), **COSTS) is None


@given(
    cash=st.decimals(0, 100_000, places=2),
    price=st.decimals(D("0.01"), D(10_000), places=4),
    scale=st.sampled_from([D(1), D("1e-5"), D("1e-10"), D("1e-16")]),
    quantity=st.integers(1, 10_000),
    step=st.sampled_from([D(1), D("0.00001")]),
    fee=st.decimals(0, 100, places=1),
)
def test_a_purchase_never_overdraws(cash, price, scale, quantity, step, fee):
    price, quantity = price * scale, quantity / scale
    fill = match(
        order(quantity=str(quantity)),
        price,
        bar_ts=NEXT,
        fee_bps=fee,
        slippage_bps=D(3),
        cash=cash,
        quantity_step=step,
    )
    if fill is None:
        assert cash < fill_price(price, "BUY", D(3)) * step * (1 + fee / 10_000) + D("0.0000001")
        return
    assert cash + fill.cash_flow >= 0
    assert fill.quantity <= quantity
    assert fill.quantity % step == 0
    least = cash - D("0.0000001") - step * price * 2
    assert fill.quantity == quantity or -fill.cash_flow > least, "what the cash covers is bought"
