"""The suite `trading` catches wrong target weights, orders and strategies: a wrong one for each property."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.support.mutants import caught, names, one, shipped
from tiers.contracts import Side, TradingState
from tiers.contracts.plans import Plan
from tiers.gates import samples
from trading.strategies import BuyAndHold, SmaCross

PORTFOLIO, EXECUTE = shipped("portfolio"), shipped("execute")


def weights(change, *, honest: bool = True):
    """The shipped weights, changed; `honest`: with the turnover that follows."""

    def run(**inputs):
        out = PORTFOLIO(**inputs)
        made = np.asarray(change(out, inputs), dtype=np.float64)
        turnover = float(np.abs(made - out.previous).sum()) if honest else out.turnover
        return replace(out, weights=made, turnover=turnover)

    return run


def targets(**changes):
    def run(**inputs):
        return replace(PORTFOLIO(**inputs), **changes)

    return run


def as_active(**inputs):
    risk = replace(inputs["risk"], state=TradingState.ACTIVE)
    return PORTFOLIO(**{**inputs, "risk": risk, "book": replace(inputs["book"], state=TradingState.ACTIVE)})


def blind_to_sessions(**inputs):
    everywhere = np.ones(len(samples.SYMBOLS), dtype=np.bool_)
    return PORTFOLIO(**{**inputs, "book": replace(inputs["book"], tradable=everywhere)})


def forgets_turnover(**inputs):
    return PORTFOLIO(**{**inputs, "params": replace(inputs["params"], max_turnover=5.0)})


def forgets_leverage(**inputs):
    return PORTFOLIO(**{**inputs, "risk": replace(inputs["risk"], leverage=3.0)})


def forgets_bounds(**inputs):
    risk = inputs["risk"]
    return PORTFOLIO(**{**inputs, "risk": replace(risk, size=risk.size + 0.2, max_weight=risk.max_weight + 0.2)})


def forgets_the_tail(**inputs):
    return PORTFOLIO(**{**inputs, "risk": replace(inputs["risk"], tail=None)})


_turn = itertools.count()


def churns(**inputs):
    out = PORTFOLIO(**inputs)
    made = np.where(out.weights > 0.0, np.round(out.weights * (0.5 if next(_turn) % 2 else 1.0), 6), out.weights)
    return replace(out, weights=made, turnover=float(np.abs(made - out.previous).sum()))


def loves_costs(**inputs):
    params = inputs["params"]
    return PORTFOLIO(**{**inputs, "params": replace(params, cost_bps=500.0 - params.cost_bps)})


WEIGHTS = [
    ("targets speak of their bar and symbols", targets(symbols=("AAA",)), "must keep the symbols"),
    ("targets speak of their bar and symbols", targets(bar_ts=samples.BAR_TS + timedelta(hours=1)), "of the bar"),
    ("targets speak of their bar and symbols", targets(weights=np.zeros(3)), "weights must be float64 (6,)"),
    ("targets speak of their bar and symbols", targets(reason=""), "must name method and reason"),
    ("weights are finite", weights(lambda out, _: out.weights * np.nan), "weights must be finite, was nan"),
    ("weights are finite", targets(turnover=float("nan")), "turnover must be finite, was nan"),
    ("no weight is above its bounds", forgets_bounds, "a weight from an empty book must be from 0 to"),
    ("no weight is above its bounds", weights(lambda out, _: out.weights - 0.1), "was -0.1"),
    ("the sum is within the leverage", forgets_leverage, "the sum of weights must be at most 0"),
    ("the worst bars lose no more than their limit", forgets_the_tail, "the worst bars must lose at most 0.001 in"),
    (
        "turnover is the sum of changes",
        weights(lambda out, _: out.weights + 0.05, honest=False),
        "must be the sum of absolute changes",
    ),
    ("turnover is the sum of changes", targets(previous=np.full(6, 0.5)), "previous must be the weights of the book"),
    ("turnover is within its limit", forgets_turnover, "from an empty book must be at most 0, was"),
    ("a halted book keeps its weights", as_active, "a weight of a halted book must be from"),
    ("a reducing book only shrinks", as_active, "a weight of a reducing book must be from 0"),
    ("what has no bar keeps its weight", blind_to_sessions, "without a bar must keep its weight"),
    (
        "what has no known risk is not raised",
        weights(lambda out, inputs: np.where(np.isnan(inputs["risk"].sigma), 0.3, out.weights)),
        "whose volatility is unknown, must not be raised",
    ),
    ("weights lie on six decimals", weights(lambda out, _: out.weights + 3e-7), "must be rounded to six decimals"),
    ("a good book is left alone", churns, "should not be traded for ever"),
    ("higher costs never trade more", loves_costs, "should not trade more than none"),
]


@pytest.mark.parametrize(("name", "run", "message"), WEIGHTS)
def test_a_wrong_portfolio_module_is_caught_by(name: str, run, message: str):
    found = {one("portfolio", run, name, seed=seed) for seed in range(7, 11)}
    assert any(message in each for each in found), found


def test_every_property_has_a_wrong_portfolio_module():
    assert {name for name, _, _ in WEIGHTS} == names("portfolio")


# --- orders ---


def orders(change):
    """The shipped plan with every order changed."""

    def run(**inputs):
        plan = EXECUTE(**inputs)
        return replace(plan, intents=tuple(change(intent, inputs) for intent in plan.intents))

    return run


def planned(**replaced):
    """The shipped plan, made of inputs that are not quite those it was given."""

    def run(**inputs):
        made = {name: value(inputs) if callable(value) else value for name, value in replaced.items()}
        return EXECUTE(**{**inputs, **made})

    return run


def orders_what_is_closed(**inputs):
    book = inputs["book"]
    price = tuple(each or Decimal(50) for each in book.price)
    everywhere = np.ones(len(price), dtype=np.bool_)
    lots = {**samples.lots(), **inputs["lots"]}
    return EXECUTE(**{**inputs, "book": replace(book, price=price, tradable=everywhere), "lots": lots})


def always_does_something(**inputs):
    plan = EXECUTE(**inputs)
    if plan.intents or inputs["book"].state != TradingState.ACTIVE:
        return plan
    weights = inputs["targets"].weights + 0.05
    return EXECUTE(**{**inputs, "targets": replace(inputs["targets"], weights=weights)})


def twice(**inputs):
    plan = EXECUTE(**inputs)
    return replace(plan, intents=plan.intents + plan.intents)


def buys_first(**inputs):
    plan = EXECUTE(**inputs)
    return replace(plan, intents=tuple(reversed(plan.intents)))


def unlimited(inputs):
    return replace(inputs["params"], max_notional=Decimal(10**9))


def small_lots(inputs):
    return {name: replace(lot, min_notional=Decimal(0)) for name, lot in inputs["lots"].items()}


def rich(inputs):
    book = inputs["book"]
    return replace(book, cash=book.cash + 10 * book.equity)


ORDERS = [
    ("a changed target gives orders", lambda **_: Plan(intents=(), denials=()), "needs an order"),
    (
        "quantities are positive multiples of the lot",
        orders(lambda i, _: replace(i, quantity=i.quantity + Decimal("0.0001"))),
        "in positive multiples of",
    ),
    (
        "quantities are positive multiples of the lot",
        orders(lambda i, _: replace(i, quantity=float(i.quantity))),
        "a quantity must be Decimal, was float",
    ),
    ("every order reaches the least notional", planned(lots=small_lots), "must be ordered for at least 2500"),
    ("no order is above the largest notional", planned(params=unlimited), "must be for at most 5000"),
    (
        "an order goes towards its target",
        orders(lambda i, _: replace(i, side=Side.SELL if i.side == Side.BUY else Side.BUY)),
        "to reach its target",
    ),
    (
        "an order goes towards its target",
        orders(lambda i, _: replace(i, quantity=i.quantity * (3 if i.side == Side.SELL else 1))),
        "must be sold up to the",
    ),
    ("no order overshoots its target", orders(lambda i, _: replace(i, quantity=2 * i.quantity)), "at most"),
    (
        "buys can be paid",
        orders(lambda i, _: replace(i, quantity=i.quantity * (2 if i.side == Side.BUY else 1))),
        "of cash, they leave -",
    ),
    (
        "prices are those of the book",
        orders(lambda i, _: replace(i, reference_price=i.reference_price + 1)),
        "must carry the close",
    ),
    (
        "prices are those of the book",
        orders(lambda i, _: replace(i, bar_ts=i.bar_ts + timedelta(hours=1))),
        "an order must name its bar",
    ),
    ("only what can be traded is ordered", orders_what_is_closed, "has no bar, no price or no lot"),
    ("nothing is ordered for a target that is held", always_does_something, "need no order, there were"),
    (
        "a halted book orders nothing",
        planned(book=lambda inputs: replace(inputs["book"], state=TradingState.ACTIVE)),
        "a halted book must send no order",
    ),
    ("a symbol has one order at most", twice, "one had two"),
    ("order ids name their decision", planned(key="one"), "must have the id of its decision"),
    (
        "order ids name their decision",
        orders(lambda i, inputs: replace(i, client_order_id=f"{inputs['key']}-{i.symbol}")),
        "must have the id of its decision",
    ),
    ("sells come before buys", buys_first, "since they pay for them"),
    (
        "a target of zero sells everything",
        orders(lambda i, _: replace(i, quantity=i.quantity / 2)),
        "should sell",
    ),
]


@pytest.mark.parametrize(("name", "run", "message"), ORDERS)
def test_a_wrong_execute_module_is_caught_by(name: str, run, message: str):
    found = {one("execute", run, name, seed=seed) for seed in range(7, 11)}
    assert any(message in each for each in found), found


def test_every_property_has_a_wrong_execute_module():
    assert {name for name, _, _ in ORDERS} == names("execute")


# --- strategies ---

CROSS = SmaCross(fast=5, slow=20).weights


def peeks(close, *, start_row=0):
    wanted = np.full(close.shape, np.nan)
    tomorrow = np.roll(close, -1, axis=0)
    with np.errstate(invalid="ignore"):
        wanted[:] = np.where(np.isfinite(close), (tomorrow > close) / close.shape[1], np.nan)
    wanted[:start_row] = np.nan
    return wanted


def borrows(close, *, start_row=0):
    return 2.0 * CROSS(close, start_row=start_row)


def divides_by_zero(close, *, start_row=0):
    wanted = CROSS(close, start_row=start_row)
    wanted[-1, 0] = np.inf
    return wanted


def starts_early(close, *, start_row=0):
    return CROSS(close, start_row=0)


def trades_without_bars(close, *, start_row=0):
    wanted = CROSS(close, start_row=start_row)
    wanted[start_row:] = np.where(np.isnan(close[start_row:]), 0.0, wanted[start_row:])
    return wanted


def counts_dollars(close, *, start_row=0):
    wanted = np.where(np.isfinite(close), (close > 100.0) / close.shape[1], np.nan)
    wanted[:start_row] = np.nan
    return wanted


STRATEGIES = [
    ("weights are finite or absent", divides_by_zero, "some were infinite"),
    ("the book never borrows", borrows, "must sum to at most 1, they reached"),
    ("the future changes nothing", peeks, "must not depend on bars from"),
    ("nothing is wanted before the start", starts_early, "rows before start_row"),
    ("what has no bar is not traded", trades_without_bars, "can only be traded at its own bars"),
    ("prices may have any scale", counts_dollars, "prices in another unit"),
]


@pytest.mark.parametrize(("name", "run", "message"), STRATEGIES)
def test_a_wrong_strategy_is_caught_by(name: str, run, message: str):
    assert message in one("strategy", run, name)


def test_every_property_has_a_wrong_strategy():
    assert {name for name, _, _ in STRATEGIES} == names("strategy")


@pytest.mark.parametrize(
    ("stage", "run"),
    [
        ("portfolio", PORTFOLIO),
        ("execute", EXECUTE),
        ("strategy", CROSS),
        ("strategy", BuyAndHold().weights),
    ],
)
def test_what_ships_passes_every_test(stage: str, run):
    for seed in range(7, 11):
        assert caught(stage, run, seed=seed) == {}
