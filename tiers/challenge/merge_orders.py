"""The orders of two arms as one plan: no more than the targets ask for, no more than the cash covers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from tiers.challenge import merge
from tiers.contracts import BookView, Denial, OrderIntent, Side, TargetWeights, TradingState
from tiers.contracts.parameters import ExecuteParams
from tiers.contracts.plans import ZERO, Plan, client_order_id
from trading.market.lots import Lot, in_lots


def plans(
    champion: Plan,
    challenger: Plan,
    served: Collection[str],
    *,
    targets: TargetWeights,
    book: BookView,
    lots: Mapping[str, Lot],
    params: ExecuteParams,
    key: str,
) -> Plan:
    """One plan, sells first: the challenger's orders for its symbols, the champion's for all others.

    An order of the challenger goes in the direction of its target and at most up to it, in whole lots and within the
    bound of a single order; it carries the id of its decision. Where all purchases together would eat into the cash
    buffer, the challenger's are scaled down first, then the champion's (whose sale the challenger may have left out).
    A HALTED book stays with the champion.
    """
    if book.state is TradingState.HALTED:
        return champion
    refused: list[Denial] = []
    mine = {
        intent.symbol: intent
        for asked in challenger.intents
        if asked.symbol in served
        for intent in _bounded(asked, targets, book, lots, params, key, refused)
    }
    theirs = {intent.symbol: intent for intent in champion.intents if intent.symbol not in served}
    sells = [i for i in (*mine.values(), *theirs.values()) if i.side is Side.SELL]
    available = _available(sells, book, params)
    for arm, other in ((mine, theirs), (theirs, mine)):
        _afford(arm, available - _cost(other.values()), lots, refused)
    place = {symbol: index for index, symbol in enumerate(book.symbols)}
    order: Callable[[OrderIntent], tuple[bool, int]] = lambda i: (i.side is Side.BUY, place[i.symbol])  # noqa: E731
    said = merge.denials(champion.denials, challenger.denials, served)
    return Plan(intents=tuple(sorted((*mine.values(), *theirs.values()), key=order)), denials=(*said, *refused))


def _bounded(
    asked: OrderIntent,
    targets: TargetWeights,
    book: BookView,
    lots: Mapping[str, Lot],
    params: ExecuteParams,
    key: str,
    refused: list[Denial],
) -> list[OrderIntent]:
    """The order cut to what its target asks for; none, and a denial, where nothing of it may stand."""
    place = book.symbols.index(asked.symbol)
    price, held, lot = book.price[place], book.quantity[place], lots.get(asked.symbol)
    if price is None or price <= 0 or lot is None or not book.tradable[place]:
        refused.append(Denial(code="NOT_TRADABLE", observed=1.0, limit=0.0, symbol=asked.symbol))
        return []
    weight = targets.weights[place]
    wanted = (ZERO if weight == 0.0 else Decimal(f"{weight:.6f}") * book.equity / price) - held
    room = wanted if asked.side is Side.BUY else -wanted
    quantity = in_lots(min(asked.quantity, max(room, ZERO)), lot.quantity_step)
    notional = quantity * price
    if quantity <= 0 or notional < lot.min_notional:
        refused.append(_denial("ORDER_BEYOND_TARGET", asked.quantity, max(room, ZERO), asked.symbol))
        return []
    adds = abs(held + (quantity if asked.side is Side.BUY else -quantity)) > abs(held)
    if adds and notional > params.max_notional:
        refused.append(_denial("NOTIONAL_ABOVE_LIMIT", notional, params.max_notional, asked.symbol))
        return []
    identity = client_order_id(key, targets.bar_ts, asked.symbol, asked.side)
    return [replace(asked, client_order_id=identity, quantity=quantity, reference_price=price, bar_ts=targets.bar_ts)]


def _available(sells: Iterable[OrderIntent], book: BookView, params: ExecuteParams) -> Decimal:
    proceeds = sum((intent.notional for intent in sells), ZERO)
    return max(ZERO, book.free_cash + proceeds - params.cash_buffer * book.equity)


def _cost(intents: Iterable[OrderIntent]) -> Decimal:
    return sum((intent.notional for intent in intents if intent.side is Side.BUY), ZERO)


def _afford(arm: dict[str, OrderIntent], available: Decimal, lots: Mapping[str, Lot], refused: list[Denial]) -> None:
    """Scale the purchases of one arm to what is left for it, in whole lots; too small ones are dropped."""
    cost = _cost(arm.values())
    if cost <= available or cost <= 0:
        return
    refused.append(Denial(code="CASH_BELOW_BUFFER", observed=float(cost), limit=float(max(available, ZERO))))
    factor = max(available, ZERO) / cost
    for symbol, intent in list(arm.items()):
        if intent.side is not Side.BUY:
            continue
        lot = lots[symbol]
        quantity = in_lots(intent.quantity * factor, lot.quantity_step)
        if quantity <= 0 or quantity * intent.reference_price < lot.min_notional:
            del arm[symbol]
        else:
            arm[symbol] = replace(intent, quantity=quantity)


def _denial(code: str, observed: Decimal, limit: Decimal, symbol: str) -> Denial:
    return Denial(code=code, observed=float(observed), limit=float(limit), symbol=symbol)
