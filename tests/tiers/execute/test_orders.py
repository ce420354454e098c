import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import BAR_TS, SYMBOLS, book, targets
from tiers import execute
from tiers.contracts import Side, TradingState
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import ExecuteParams
from tiers.contracts.plans import Plan, client_order_id
from tiers.execute.plan import plan
from trading.market.lots import Lot, in_lots

D = Decimal
SHARES = Lot(quantity_step=D(1), min_notional=D(1), price_tick=D("0.01"))
COINS = Lot(quantity_step=D("0.00000001"), min_notional=D(10), price_tick=D("0.01"))
PARAMS = ExecuteParams()


def planned(wanted, view=None, *, lot=SHARES, params=PARAMS, key="paper-1", lots=None):
    view = view or book()
    aims = targets(wanted, tuple(view.weights))
    return plan(
        targets=aims,
        book=view,
        lots=dict.fromkeys(SYMBOLS, lot) if lots is None else lots,
        params=params,
        key=key,
    )


def summary(orders):
    return [(o.side, o.symbol, o.quantity) for o in orders.intents]


def codes(orders):
    return [(d.code, d.symbol) for d in orders.denials]


def test_weights_become_whole_lots_rounded_towards_zero():
    orders = planned((0.3, 0.0, 0.1), book(price=(333.0, 50.0, 17.0)))
    assert summary(orders) == [(Side.BUY, "AAPL", D(90)), (Side.BUY, "IBM", D(588))]
    assert orders.intents[0].reference_price == D("333.0")
    assert orders.intents[0].notional == D("29970.0")
    assert orders.intents[0].bar_ts == BAR_TS
    assert orders.denials == ()


def test_fractions_of_a_coin_are_exact():
    orders = planned((0.1, 0.0, 0.0), book(price=(30_000.0, 1.0, 1.0)), lot=COINS)
    assert summary(orders) == [(Side.BUY, "AAPL", D("0.33333333"))]


def test_sells_come_before_buys():
    orders = planned((0.4, 0.0, 0.1), book((0.0, 0.4, 0.3)))
    assert [o.side for o in orders.intents] == [Side.SELL, Side.SELL, Side.BUY]


def test_a_target_of_zero_sells_exactly_what_is_held():
    view = replace(book((0.2, 0.0, 0.0), price=(7.0, 1.0, 1.0)), quantity=(D("2857.14285714"), D(0), D(0)))
    orders = planned((0.0, 0.0, 0.0), view, lot=COINS)
    assert summary(orders) == [(Side.SELL, "AAPL", D("2857.14285714"))]


def test_unchanged_weights_send_nothing_and_deny_nothing():
    view = book((0.123456789, 0.2, 0.0))
    orders = planned((0.123456, 0.2, 0.0), view)
    assert orders == Plan(intents=(), denials=())


def test_a_partial_sale_never_exceeds_what_is_held():
    orders = planned((0.05, 0.0, 0.0), book((0.2, 0.0, 0.0)))
    assert summary(orders) == [(Side.SELL, "AAPL", D(150))]


def test_an_order_below_the_minimum_is_denied_with_both_figures():
    lot = replace(SHARES, min_notional=D(500))
    orders = planned((0.003, 0.0, 0.0), lot=lot)
    assert orders.intents == ()
    (denial,) = orders.denials
    assert (denial.code, denial.observed, denial.limit, denial.symbol) == (
        "NOTIONAL_BELOW_MINIMUM",
        300.0,
        500.0,
        "AAPL",
    )


def test_less_than_one_lot_is_below_the_minimum_of_one_lot():
    (denial,) = planned((0.01, 0.0, 0.0), book(price=(5_000.0, 1.0, 1.0))).denials
    assert (denial.code, denial.observed, denial.limit) == ("NOTIONAL_BELOW_MINIMUM", 1_000.0, 5_000.0)


def test_a_buy_above_the_limit_is_denied_but_a_sale_passes():
    params = ExecuteParams(max_notional=D(20_000))
    orders = planned((0.0, 0.3, 0.1), book((0.5, 0.0, 0.0)), params=params)
    assert summary(orders) == [(Side.SELL, "AAPL", D(500)), (Side.BUY, "IBM", D(100))]
    (denial,) = orders.denials
    assert (denial.code, denial.observed, denial.limit, denial.symbol) == (
        "NOTIONAL_ABOVE_LIMIT",
        30_000.0,
        20_000.0,
        "GOOG",
    )


def test_closing_a_short_is_not_adding_exposure():
    params = ExecuteParams(max_notional=D(1_000))
    assert summary(planned((0.0, 0.0, 0.0), book((-0.2, 0.0, 0.0)), params=params)) == [(Side.BUY, "AAPL", D(200))]


def test_turning_a_short_into_a_long_is():
    params = ExecuteParams(max_notional=D(1_000))
    assert codes(planned((0.1, 0.0, 0.0), book((-0.2, 0.0, 0.0)), params=params)) == [("NOTIONAL_ABOVE_LIMIT", "AAPL")]


def test_what_waits_is_paid_for_before_anything_else_is_bought():
    view = replace(book(tradable=(True, True, False)), waiting={"IBM": D(600)})  # of 100 each: 60 %
    assert view.weights.tolist() == [0.0, 0.0, 0.6]
    orders = planned((0.5, 0.0, 0.6), view)
    assert summary(orders) == [(Side.BUY, "AAPL", D(390))]  # what the cash over the buffer buys
    assert codes(orders) == [("CASH_BELOW_BUFFER", "")]
    selling = replace(view, waiting={"IBM": D(-600)})
    assert summary(planned((0.5, 0.0, -0.6), selling)) == [(Side.BUY, "AAPL", D(500))]


def test_buys_are_scaled_together_when_the_cash_buffer_would_be_touched():
    orders = planned((0.6, 0.4, 0.0), book())
    assert summary(orders) == [(Side.BUY, "AAPL", D(594)), (Side.BUY, "GOOG", D(396))]
    (denial,) = orders.denials
    assert (denial.code, denial.observed, denial.limit) == ("CASH_BELOW_BUFFER", 100_000.0, 99_000.0)


def test_the_proceeds_of_sales_pay_for_buys():
    orders = planned((0.0, 0.9, 0.0), book((0.9, 0.0, 0.0)))
    assert summary(orders) == [(Side.SELL, "AAPL", D(900)), (Side.BUY, "GOOG", D(900))]


def test_without_cash_nothing_is_bought():
    view = replace(book((0.9, 0.0, 0.0)), cash=D(0))
    orders = planned((0.9, 0.1, 0.0), view)
    assert orders.intents == ()
    assert codes(orders) == [("CASH_BELOW_BUFFER", ""), ("NOTIONAL_BELOW_MINIMUM", "GOOG")]


@pytest.mark.parametrize(
    ("view", "lots", "code"),
    [
        (book(price=(None, 100.0, 100.0)), None, "NO_PRICE"),
        (book(tradable=(False, True, True)), None, "NOT_TRADABLE"),
        (book(), {}, "LOT_UNKNOWN"),
    ],
)
def test_what_cannot_be_ordered_is_denied(view, lots, code):
    orders = planned((0.1, 0.0, 0.0), view, lots=lots)
    assert orders.intents == ()
    assert codes(orders) == [(code, "AAPL")]


def test_a_halted_book_sends_nothing():
    view = book((0.5, 0.0, 0.0), state=TradingState.HALTED)
    orders = planned((0.0, 0.1, 0.0), view)
    assert orders.intents == ()
    assert codes(orders) == [("BOOK_HALTED", "AAPL"), ("BOOK_HALTED", "GOOG")]


def test_the_order_id_names_the_decision():
    text = "paper-1|2012-03-01T21:00:00.000000+00:00|AAPL|BUY"
    expected = "h" + hashlib.sha256(text.encode()).hexdigest()[:24]
    (intent,) = planned((0.1, 0.0, 0.0)).intents
    assert intent.client_order_id == expected
    assert planned((0.1, 0.0, 0.0)).intents == (intent,)


def test_the_same_moment_in_another_zone_gives_the_same_id():
    new_york = BAR_TS.astimezone(timezone(timedelta(hours=-5)))
    ids = {client_order_id("k", t, "AAPL", Side.BUY) for t in (BAR_TS, new_york, BAR_TS.replace(tzinfo=None))}
    assert len(ids) == 1


def test_another_key_bar_symbol_or_side_gives_another_id():
    later = datetime(2012, 3, 2, 21, tzinfo=UTC)
    ids = {
        client_order_id("k", BAR_TS, "AAPL", Side.BUY),
        client_order_id("l", BAR_TS, "AAPL", Side.BUY),
        client_order_id("k", later, "AAPL", Side.BUY),
        client_order_id("k", BAR_TS, "IBM", Side.BUY),
        client_order_id("k", BAR_TS, "AAPL", Side.SELL),
    }
    assert len(ids) == 5


@given(st.decimals(-10_000, 10_000, places=9), st.sampled_from(["1", "0.01", "0.00000001", "100"]))
def test_lots_round_towards_zero(quantity, step):
    lots = in_lots(quantity, D(step))
    assert lots % D(step) == 0
    assert abs(lots) <= abs(quantity) < abs(lots) + D(step)
    assert lots * quantity >= 0


weight = st.floats(0, 1).map(lambda w: round(w, 6))


@given(
    st.tuples(weight, weight, weight),
    st.tuples(*[st.integers(0, 400)] * 3),
    st.tuples(*[st.decimals(D("0.5"), 900, places=2)] * 3),
    st.decimals(0, 200_000, places=2),
    st.sampled_from([SHARES, COINS]),
)
def test_orders_are_affordable_whole_and_never_sell_more_than_is_held(wanted, held, price, cash, lot):
    value = sum((q * p for q, p in zip(held, price, strict=True)), D(0))
    equity = value + cash
    if equity <= 0:
        return
    view = replace(book(equity=str(equity)), cash=cash, quantity=tuple(map(D, held)), price=price, peak_equity=equity)
    orders = planned(wanted, view, lot=lot)
    sold = {o.symbol: o.quantity for o in orders.intents if o.side is Side.SELL}
    for j, symbol in enumerate(SYMBOLS):
        assert sold.get(symbol, D(0)) <= held[j]
    spent = sum((o.notional for o in orders.intents if o.side is Side.BUY), D(0))
    proceeds = sum((o.notional for o in orders.intents if o.side is Side.SELL), D(0))
    assert spent <= max(D(0), cash + proceeds - PARAMS.cash_buffer * equity)
    for order in orders.intents:
        assert order.quantity > 0
        assert order.quantity % lot.quantity_step == 0
        assert lot.min_notional <= order.notional
    assert len({o.client_order_id for o in orders.intents}) == len(orders.intents)
    assert np.isfinite([d.observed for d in orders.denials]).all()


IMPOSSIBLE = [{name: D(text)} for name in ("quantity_step", "min_notional") for text in ("Infinity", "NaN", "1e400")]


@pytest.mark.parametrize("bad", [{"quantity_step": D(0)}, {"price_tick": D(-1)}, {"min_notional": D(-1)}, *IMPOSSIBLE])
def test_an_impossible_lot_is_refused(bad):
    with pytest.raises(DataError, match="a lot needs a quantity_step and a price_tick"):
        replace(SHARES, **bad)


def test_different_symbols_are_refused():
    with pytest.raises(DataError, match="the same symbols"):
        plan(targets=targets((0.1,), (0.0,)), book=book(), lots={}, params=PARAMS, key="k")


def test_the_package_names_its_version_and_its_entry():
    assert execute.VERSION == "1.0.0"
    assert execute.run is plan
