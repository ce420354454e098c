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
    assert (account.holdings["AAPL"].quantity, account.holdings["AAPL"].cost) == (D(40), D(4_600))


def test_a_sale_realises_the_difference_to_the_average_cost():
    account = replay(D(10_000), [fill(), fill("SELL", "4", "110")])
    holding = account.holdings["AAPL"]
    assert holding.realised_pnl == D(40)
    assert holding.cost == D(600)
    assert holding.fees_paid == D(1)


def test_closing_the_position_leaves_no_cost():
    holding = replay(D(10_000), [fill(), fill("SELL", "10", "90")]).holdings["AAPL"]
    assert (holding.quantity, holding.cost, holding.realised_pnl) == (0, 0, D(-100))


def test_selling_more_than_is_held_opens_a_short_at_the_new_price():
    holding = replay(D(10_000), [fill(), fill("SELL", "15", "110")]).holdings["AAPL"]
    assert (holding.quantity, holding.cost, holding.realised_pnl) == (D(-5), D(-550), D(100))


def test_buying_back_a_short_realises_its_gain():
    holding = Holding(quantity=D(-5), cost=D(-550)).after(fill(quantity="5", price="100"))
    assert holding.realised_pnl == D(50)


def test_equity_marks_every_holding_and_ignores_empty_ones():
    account = replay(D(10_000), [fill(), fill(symbol="IBM"), fill("SELL", symbol="IBM")])
    assert account.equity({"AAPL": D(101)}) == account.cash + D(1010)


def test_equity_refuses_a_holding_without_a_price():
    account = replay(D(10_000), [fill()])
    with pytest.raises(Rejected, match="AAPL has none"):
        account.equity({})


@pytest.mark.parametrize("text", ["0.1", "4.186662803811", "0.0000000149", "2.4123456789e-8", "69123.07", "1e22"])
def test_a_price_is_the_decimal_that_a_file_wrote_at_any_size(text):
    assert exact(float(text)) == D(text)


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


@given(trades, st.sampled_from(["1", "1e-5", "1e-10"]))
def test_profit_adds_up_to_the_change_of_equity_exactly(rows, scale):
    """Equity at the last price = start + realised + unrealised - fees, over purchases, sales and flips."""
    fills = [fill(side, str(q / D(scale)), str(p * D(scale)), str(f)) for side, q, p, f in rows]
    account = replay(D(1000), fills)
    for priced in fills[-1:]:
        assert made(account, priced.price) == account.equity({"AAPL": priced.price}) - 1000


def made(account, price):
    holding = account.holdings["AAPL"]
    return holding.realised_pnl + holding.unrealised_pnl(price) - holding.fees_paid


@pytest.mark.parametrize("price", ["173.29", "0.0000000149", "4.186662803811e-9"])
def test_a_thousand_purchases_and_a_sale_of_a_third_lose_no_digit(price):
    fills = [
        fill(quantity=str((7 + n % 13) / D(price)), price=str(D(price) * (1 + D(n) / 997)), fee="0.0123")
        for n in range(1_000)
    ]
    bought = sum(f.quantity for f in fills)
    fills.append(fill("SELL", str(bought / 3), str(D(price) * 2)))
    account = replay(D(20_000), fills)
    paid = sum(Fraction(f.notional) for f in fills[:-1])
    holding = account.holdings["AAPL"]
    assert abs(Fraction(holding.cost) - paid * 2 / 3) < Fraction(1, 10**8)
    assert made(account, D(price)) == account.equity({"AAPL": D(price)}) - 20_000
