"""The paper venue's arithmetic: next open, slippage, fee, and never more than the cash."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

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
    account = Account(D(0), {"IBM": Holding(quantity=D(20), average_price=D(50))})
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


@given(
    cash=st.decimals(0, 100_000, places=2),
    price=st.decimals(D("0.01"), D(10_000), places=4),
    quantity=st.integers(1, 10_000),
    step=st.sampled_from([D(1), D("0.00001")]),
    fee=st.decimals(0, 100, places=1),
)
def test_a_purchase_never_overdraws(cash, price, quantity, step, fee):
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
