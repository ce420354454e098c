"""Cents: what a fill does to cash and holdings."""

from datetime import UTC, datetime
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.errors import Rejected
from trading.books.accounting import Account, Fill, Holding, exact, replay, rounded

T = datetime(2024, 1, 2, tzinfo=UTC)


def fill(side="BUY", quantity="10", price="100", fee="0.5", symbol="AAPL"):
    q, p = D(quantity), D(price)
    return Fill(
        client_order_id="h1",
        symbol=symbol,
        side=side,
        quantity=q,
        price=p,
        notional=rounded(q * p),
        fee=D(fee),
        bar_ts=T,
    )


def test_a_purchase_takes_notional_and_fee_from_the_cash():
    account = Account(D(5000))
    account.apply(fill())
    assert account.cash == D("3999.5")
    assert account.quantity("AAPL") == 10


def test_average_cost_is_weighted_by_quantity():
    account = replay(D(10_000), [fill(), fill(quantity="30", price="120")])
    assert account.holdings["AAPL"].average_price == D(115)


def test_a_sale_realises_the_difference_to_the_average_cost():
    account = replay(D(10_000), [fill(), fill("SELL", "4", "110")])
    holding = account.holdings["AAPL"]
    assert holding.realised_pnl == D(40)
    assert holding.average_price == D(100)
    assert holding.fees_paid == D(1)


def test_closing_the_position_leaves_no_average_price():
    holding = replay(D(10_000), [fill(), fill("SELL", "10", "90")]).holdings["AAPL"]
    assert (holding.quantity, holding.average_price, holding.realised_pnl) == (0, 0, D(-100))


def test_selling_more_than_is_held_opens_a_short_at_the_new_price():
    holding = replay(D(10_000), [fill(), fill("SELL", "15", "110")]).holdings["AAPL"]
    assert (holding.quantity, holding.average_price, holding.realised_pnl) == (D(-5), D(110), D(100))


def test_buying_back_a_short_realises_its_gain():
    holding = Holding(quantity=D(-5), average_price=D(110)).after(fill(quantity="5", price="100"))
    assert holding.realised_pnl == D(50)


def test_equity_marks_every_holding_and_ignores_empty_ones():
    account = replay(D(10_000), [fill(), fill(symbol="IBM"), fill("SELL", symbol="IBM")])
    assert account.equity({"AAPL": D(101)}) == account.cash + D(1010)


def test_equity_refuses_a_holding_without_a_price():
    account = replay(D(10_000), [fill()])
    with pytest.raises(Rejected, match="AAPL has none"):
        account.equity({})


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (4.186662803811, "4.18666280"), (1e-8, "0.00000001")])
def test_a_float_price_becomes_money_with_eight_decimals(value, text):
    assert exact(value) == D(text)


amounts = st.decimals(D("0.01"), D(5000), places=2)
trades = st.lists(
    st.tuples(st.sampled_from(["BUY", "SELL"]), amounts, amounts, st.decimals(0, 9, places=2)), max_size=30
)


@given(trades)
def test_cash_is_exactly_the_sum_of_the_flows(rows):
    fills = [fill(side, str(q), str(p), str(f)) for side, q, p, f in rows]
    account = replay(D(1000), fills)
    flows = sum(
        (Fraction(f.notional) * (1 if f.side == "SELL" else -1) - Fraction(f.fee) for f in fills),
        Fraction(1000),
    )
    assert Fraction(account.cash) == flows
    signed = sum((f.quantity if f.side == "BUY" else -f.quantity for f in fills), D(0))
    assert account.quantity("AAPL") == signed


@given(trades)
def test_profit_adds_up_to_cash_and_holdings(rows):
    """Equity at the last price = start + realised + unrealised - fees, within the rounding of average prices."""
    fills = [fill(side, str(q), str(p), str(f)) for side, q, p, f in rows]
    account = replay(D(1000), fills)
    if not fills:
        return
    price, holding = fills[-1].price, account.holdings["AAPL"]
    unrealised = holding.quantity * (price - holding.average_price)
    expected = D(1000) + holding.realised_pnl + unrealised - holding.fees_paid
    assert abs(account.equity({"AAPL": price}) - expected) < D("0.01")
