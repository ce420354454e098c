"""The part of the suite `trading` that speaks of execute modules: orders that a venue takes and a book can pay."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from helios.modules.suites import Candidate, GateTest, require
from tiers.contracts import BookView, OrderIntent, Side, TargetWeights, TradingState
from tiers.contracts.parameters import ExecuteParams
from tiers.contracts.plans import client_order_id
from tiers.gates import assertions, completeness, samples
from tiers.gates.samples import SYMBOLS

PARAMS = ExecuteParams()
N = len(SYMBOLS)
KEY = "gate:1"
CENT = Decimal("0.01")
FIELDS = ("client_order_id", "symbol", "side", "quantity", "reference_price", "bar_ts")

__all__ = ["TESTS"]


def _book(seed: int, **changes: Any) -> BookView:
    return samples.book(seed, held=samples.holdings(seed), **changes)


def _orders(candidate: Candidate, targets: TargetWeights, view: BookView, **changes: Any) -> tuple[OrderIntent, ...]:
    inputs: dict[str, Any] = {
        "targets": targets,
        "book": view,
        "lots": samples.lots(),
        "params": PARAMS,
        "key": KEY,
    }
    plan = candidate.run(**{**inputs, **changes})
    assertions.fields(plan, ("intents", "denials"), "a plan")
    for intent in plan.intents:
        assertions.fields(intent, FIELDS, "an order")
    return tuple(plan.intents)


def _samples(candidate: Candidate, seed: int) -> list[tuple[BookView, TargetWeights, tuple[OrderIntent, ...]]]:
    """Books, targets and orders of several seeds: fuller, emptier, from nothing and to nothing."""
    found = []
    for offset in range(4):
        view = _book(seed + offset)
        for gross in (0.0, 0.3, 0.95):
            targets = samples.targets(seed + offset, view, gross=gross)
            found.append((view, targets, _orders(candidate, targets, view)))
        empty = samples.book(seed + offset)
        targets = samples.targets(seed + offset, empty)
        found.append((empty, targets, _orders(candidate, targets, empty)))
    return found


def a_changed_target_gives_orders(candidate: Candidate, seed: int) -> None:
    view = samples.book(seed)
    targets = samples.targets(seed, view)
    bought = {intent.symbol for intent in _orders(candidate, targets, view)}
    wanted = {symbol for symbol, weight in zip(SYMBOLS, targets.weights, strict=True) if weight > 0.02}
    require(wanted <= bought, f"every target above 2% of an empty book needs an order, {wanted - bought} had none")


def quantities_are_positive_multiples_of_the_lot(candidate: Candidate, seed: int) -> None:
    steps = samples.lots()
    for _, _, intents in _samples(candidate, seed):
        for intent in intents:
            quantity, step = intent.quantity, steps[intent.symbol].quantity_step
            require(isinstance(quantity, Decimal), f"a quantity must be Decimal, was {type(quantity).__name__}")
            ok = quantity > 0 and quantity % step == 0
            require(ok, f"{intent.symbol} must be ordered in positive multiples of {step}, was {quantity}")


def every_order_reaches_the_least_notional(candidate: Candidate, seed: int) -> None:
    least = Decimal(2_500)
    lots = {symbol: replace(lot, min_notional=least) for symbol, lot in samples.lots().items()}
    view = _book(seed)
    for intent in _orders(candidate, samples.targets(seed, view), view, lots=lots):
        notional = intent.quantity * intent.reference_price
        require(notional >= least, f"{intent.symbol} must be ordered for at least {least}, was {notional:.2f}")


def no_order_is_above_the_largest_notional(candidate: Candidate, seed: int) -> None:
    most = Decimal(5_000)
    view = samples.book(seed)
    for intent in _orders(candidate, samples.targets(seed, view), view, params=ExecuteParams(max_notional=most)):
        notional = intent.quantity * intent.reference_price
        require(notional <= most, f"an order that adds must be for at most {most}, {intent.symbol} was {notional:.2f}")


def an_order_goes_towards_its_target(candidate: Candidate, seed: int) -> None:
    for view, targets, intents in _samples(candidate, seed):
        for intent in intents:
            place = SYMBOLS.index(intent.symbol)
            rises = targets.weights[place] > targets.previous[place]
            wanted = Side.BUY if rises else Side.SELL
            require(intent.side == wanted, f"{intent.symbol} must be a {wanted} to reach its target, was {intent.side}")
            held = view.quantity[place]
            ok = rises or intent.quantity <= held
            require(ok, f"{intent.symbol} must be sold up to the {held} that are held, the order was {intent.quantity}")


def no_order_overshoots_its_target(candidate: Candidate, seed: int) -> None:
    for view, targets, intents in _samples(candidate, seed):
        for intent in intents:
            place = SYMBOLS.index(intent.symbol)
            change = abs(float(targets.weights[place]) - float(targets.previous[place])) * float(view.equity)
            notional = float(intent.quantity * intent.reference_price)
            require(
                notional <= change * 1.001 + 1.0,
                f"{intent.symbol} must be ordered for at most {change:.2f}, was {notional:.2f}",
            )


def buys_can_be_paid(candidate: Candidate, seed: int) -> None:
    for view, _, intents in _samples(candidate, seed):
        spent = sum((i.quantity * i.reference_price for i in intents if i.side == Side.BUY), Decimal(0))
        gained = sum((i.quantity * i.reference_price for i in intents if i.side == Side.SELL), Decimal(0))
        left = view.cash + gained - spent
        kept = min(PARAMS.cash_buffer * view.equity, view.cash + gained)
        require(left >= kept - CENT, f"orders must leave {kept:.2f} of cash, they leave {left:.2f}")


def prices_are_those_of_the_book(candidate: Candidate, seed: int) -> None:
    for view, targets, intents in _samples(candidate, seed):
        for intent in intents:
            price = view.price[SYMBOLS.index(intent.symbol)]
            ok = isinstance(intent.reference_price, Decimal) and intent.reference_price == price
            require(ok, f"{intent.symbol} must carry the close {price}, had {intent.reference_price!r}")
            require(intent.bar_ts == targets.bar_ts, f"an order must name its bar, {intent.symbol} had {intent.bar_ts}")


def only_what_can_be_traded_is_ordered(candidate: Candidate, seed: int) -> None:
    tradable = np.ones(N, dtype=np.bool_)
    tradable[0] = False
    view = replace(samples.book(seed, tradable=tradable), price=_without_price(samples.book(seed), 1))
    lots = {symbol: lot for symbol, lot in samples.lots().items() if symbol != SYMBOLS[2]}
    targets = replace(samples.targets(seed, view), weights=np.full(N, 0.15))
    ordered = {intent.symbol for intent in _orders(candidate, targets, view, lots=lots)}
    wrong = ordered & set(SYMBOLS[:3])
    require(not wrong, f"{', '.join(sorted(wrong))} has no bar, no price or no lot and must not be ordered")


def nothing_is_ordered_for_a_target_that_is_held(candidate: Candidate, seed: int) -> None:
    view = _book(seed)
    targets = replace(samples.targets(seed, view), weights=view.weights, turnover=0.0)
    intents = _orders(candidate, targets, view)
    require(not intents, f"weights that are held already need no order, there were {len(intents)}")


def a_halted_book_orders_nothing(candidate: Candidate, seed: int) -> None:
    view = _book(seed, state=TradingState.HALTED)
    intents = _orders(candidate, samples.targets(seed, view), view)
    require(not intents, f"a halted book must send no order, it sent {len(intents)}")


def a_symbol_has_one_order_at_most(candidate: Candidate, seed: int) -> None:
    for _, _, intents in _samples(candidate, seed):
        symbols = [intent.symbol for intent in intents]
        require(len(symbols) == len(set(symbols)), "a plan must hold one order a symbol at most, one had two")


def order_ids_name_their_decision(candidate: Candidate, seed: int) -> None:
    for _, targets, intents in _samples(candidate, seed):
        for intent in intents:
            identity = client_order_id(KEY, targets.bar_ts, intent.symbol, intent.side)
            require(
                intent.client_order_id == identity,
                f"an order must have the id of its decision, {identity}, was {intent.client_order_id!r}",
            )


def sells_come_before_buys(candidate: Candidate, seed: int) -> None:
    for _, _, intents in _samples(candidate, seed):
        sides = [intent.side == Side.BUY for intent in intents]
        require(sides == sorted(sides), "sells should come before buys, since they pay for them")


def a_target_of_zero_sells_everything(candidate: Candidate, seed: int) -> None:
    view = _book(seed)
    targets = replace(samples.targets(seed, view), weights=np.zeros(N))
    sold = {intent.symbol: intent.quantity for intent in _orders(candidate, targets, view)}
    steps = samples.lots()
    for symbol, held in zip(SYMBOLS, view.quantity, strict=True):
        left = held - sold.get(symbol, Decimal(0))
        ok = left < steps[symbol].quantity_step
        require(ok, f"a target of zero should sell {symbol} up to less than a lot, {left} would stay")


def _without_price(view: BookView, place: int) -> tuple[Decimal | None, ...]:
    return tuple(None if j == place else price for j, price in enumerate(view.price))


_ALL = (
    ("a changed target gives orders", a_changed_target_gives_orders, True),
    ("quantities are positive multiples of the lot", quantities_are_positive_multiples_of_the_lot, True),
    ("every order reaches the least notional", every_order_reaches_the_least_notional, True),
    ("no order is above the largest notional", no_order_is_above_the_largest_notional, True),
    ("an order goes towards its target", an_order_goes_towards_its_target, True),
    ("no order overshoots its target", no_order_overshoots_its_target, True),
    ("buys can be paid", buys_can_be_paid, True),
    ("prices are those of the book", prices_are_those_of_the_book, True),
    ("only what can be traded is ordered", only_what_can_be_traded_is_ordered, True),
    ("nothing is ordered for a target that is held", nothing_is_ordered_for_a_target_that_is_held, True),
    ("a halted book orders nothing", a_halted_book_orders_nothing, True),
    ("a symbol has one order at most", a_symbol_has_one_order_at_most, True),
    ("order ids name their decision", order_ids_name_their_decision, True),
    ("sells come before buys", sells_come_before_buys, False),
    ("a target of zero sells everything", a_target_of_zero_sells_everything, False),
)
TESTS = (
    completeness.completeness_test("execute"),
    *(GateTest(name=name, function=each, required=needed, contracts=("execute",)) for name, each, needed in _ALL),
)
