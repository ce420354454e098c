"""The orders of two arms as one plan: never beyond the targets, never beyond the cash."""

from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import BAR_TS, SYMBOLS, book, targets
from tiers.challenge.merge_orders import plans
from tiers.contracts import OrderIntent, Side, TradingState
from tiers.contracts.parameters import ExecuteParams
from tiers.contracts.plans import Plan, client_order_id
from tiers.execute.plan import plan
from trading.market.lots import Lot

LOTS = dict.fromkeys(SYMBOLS, Lot(quantity_step=D(1), min_notional=D(1), price_tick=D("0.01")))
PARAMS = ExecuteParams()
EMPTY = Plan(intents=(), denials=())


def planned(wanted, view):
    return plan(targets=targets(wanted, tuple(view.weights)), book=view, lots=LOTS, params=PARAMS, key="paper-1")


def order(symbol, side, quantity):
    return OrderIntent(
        client_order_id="mine", symbol=symbol, side=side, quantity=D(quantity), reference_price=D(7), bar_ts=BAR_TS
    )


def mixed(champion, challenger, served, wanted, view, params=PARAMS):
    aims = targets(wanted, tuple(view.weights))
    return plans(champion, challenger, served, targets=aims, book=view, lots=LOTS, params=params, key="paper-1")


def said(both):
    return [(i.side.value, i.symbol, i.quantity) for i in both.intents]


def test_each_arm_orders_its_own_symbols_and_sales_come_first():
    view = book((0.0, 0.3, 0.2))
    champion = planned((0.2, 0.3, 0.1), view)
    challenger = Plan(intents=(order("GOOG", Side.SELL, 150), order("AAPL", Side.BUY, 5)), denials=())
    both = mixed(champion, challenger, {"GOOG"}, (0.2, 0.1, 0.1), view)
    assert said(both) == [("SELL", "GOOG", 150), ("SELL", "IBM", 100), ("BUY", "AAPL", 200)]


def test_an_order_carries_the_id_and_the_price_of_its_decision():
    both = mixed(EMPTY, Plan(intents=(order("AAPL", Side.BUY, 5),), denials=()), {"AAPL"}, (0.2, 0.0, 0.0), book())
    assert both.intents[0].client_order_id == client_order_id("paper-1", BAR_TS, "AAPL", Side.BUY)
    assert both.intents[0].reference_price == D(100)


@pytest.mark.parametrize(
    ("side", "quantity", "kept"),
    [(Side.BUY, 900, 200), (Side.BUY, 150, 150), (Side.SELL, 10, None)],
)
def test_an_order_goes_in_the_direction_of_its_target_and_up_to_it(side, quantity, kept):
    challenger = Plan(intents=(order("AAPL", side, quantity),), denials=())
    both = mixed(EMPTY, challenger, {"AAPL"}, (0.2, 0.0, 0.0), book())
    assert [i.quantity for i in both.intents] == ([] if kept is None else [kept])
    assert [d.code for d in both.denials] == (["ORDER_BEYOND_TARGET"] if kept is None else [])


def test_more_than_is_held_cannot_be_sold():
    view = book((0.1, 0.0, 0.0))
    both = mixed(EMPTY, Plan(intents=(order("AAPL", Side.SELL, 500),), denials=()), {"AAPL"}, (0.0, 0.0, 0.0), view)
    assert said(both) == [("SELL", "AAPL", 100)]


def test_an_order_above_the_bound_of_a_single_order_is_refused():
    tight = ExecuteParams(max_notional=D(1_000))
    both = mixed(EMPTY, Plan(intents=(order("AAPL", Side.BUY, 50),), denials=()), {"AAPL"}, (0.2, 0, 0), book(), tight)
    assert (said(both), [d.code for d in both.denials]) == ([], ["NOTIONAL_ABOVE_LIMIT"])


def test_a_symbol_without_a_bar_is_not_ordered():
    view = book(tradable=(False, True, True))
    both = mixed(EMPTY, Plan(intents=(order("AAPL", Side.BUY, 5),), denials=()), {"AAPL"}, (0.2, 0, 0), view)
    assert (said(both), [d.code for d in both.denials]) == ([], ["NOT_TRADABLE"])


def test_a_halted_book_orders_what_the_champion_says():
    view = book(state=TradingState.HALTED)
    both = mixed(EMPTY, Plan(intents=(order("AAPL", Side.BUY, 5),), denials=()), {"AAPL"}, (0.2, 0, 0), view)
    assert both is EMPTY


def test_the_challengers_purchases_give_way_when_the_cash_is_short():
    view = replace(book((0.0, 0.0, 0.0)), cash=D(31_000))
    champion = planned((0.2, 0.0, 0.0), view)
    challenger = Plan(intents=(order("GOOG", Side.BUY, 400),), denials=())
    both = mixed(champion, challenger, {"GOOG"}, (0.2, 0.4, 0.0), view)
    assert said(both) == [("BUY", "AAPL", 200), ("BUY", "GOOG", 100)]
    assert "CASH_BELOW_BUFFER" in [d.code for d in both.denials]


def test_a_sale_that_the_challenger_leaves_out_pays_for_no_purchase():
    view = replace(book((0.0, 0.5, 0.0)), cash=D(11_000))
    champion = planned((0.5, 0.0, 0.0), view)
    assert said(champion)[0] == ("SELL", "GOOG", 500)
    both = mixed(champion, EMPTY, {"GOOG"}, (0.5, 0.0, 0.0), view)
    assert said(both) == [("BUY", "AAPL", 100)]  # what the cash over the buffer buys


weights = st.tuples(*[st.floats(0.0, 0.5)] * 3)


@given(held=st.tuples(*[st.floats(0.0, 0.3)] * 3), wanted=weights, served=st.sets(st.sampled_from(SYMBOLS)))
def test_two_arms_that_agree_give_the_champions_plan(held, wanted, served):
    view = book(held)
    champion = planned(wanted, view)
    both = mixed(champion, champion, served, wanted, view)
    assert both.intents == champion.intents
    assert both.denials == champion.denials


@given(
    held=st.tuples(*[st.floats(0.0, 0.3)] * 3),
    wanted=weights,
    served=st.sets(st.sampled_from(SYMBOLS)),
    asked=st.lists(
        st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(Side), st.integers(1, 3_000)), unique_by=lambda x: x[0]
    ),
)
def test_whatever_is_asked_the_book_is_not_overdrawn_nor_sold_short(held, wanted, served, asked):
    view = book(held)
    challenger = Plan(intents=tuple(order(*one) for one in asked), denials=())
    both = mixed(planned(wanted, view), challenger, served, wanted, view)
    spent = sum((i.notional for i in both.intents if i.side is Side.BUY), D(0))
    earned = sum((i.notional for i in both.intents if i.side is Side.SELL), D(0))
    assert spent <= max(D(0), view.cash + earned - PARAMS.cash_buffer * view.equity)
    for intent in both.intents:
        place = SYMBOLS.index(intent.symbol)
        assert intent.side is Side.BUY or intent.quantity <= view.quantity[place]
    assert len({i.symbol for i in both.intents}) == len(both.intents)
