"""From target weights to orders: whole lots, enough cash, sane sizes, each under the id of its decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from tiers.contracts import BookView, Denial, Lot, OrderIntent, Side, TargetWeights, TradingState, in_lots
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import ExecuteParams
from tiers.contracts.plans import ZERO, Plan, client_order_id

SMALLEST_CHANGE = 1e-6  # of equity: the grid on which target weights lie


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A wanted change of one position: `quantity` is signed and not yet in lots."""

    symbol: str
    quantity: Decimal
    held: Decimal
    price: Decimal
    lot: Lot

    @property
    def adds(self) -> bool:
        """Whether the position grows away from zero or changes its sign."""
        return abs(self.held + self.quantity) > abs(self.held) or (self.held + self.quantity) * self.held < 0


def plan(*, targets: TargetWeights, book: BookView, lots: Mapping[str, Lot], params: ExecuteParams, key: str) -> Plan:
    """Market orders for the next bar's open that bring the book to its target weights.

    Only symbols whose weight differs from the previous one by at least a millionth are traded. A target of
    zero sells exactly what is held. Sells come before buys; when the buys would eat into the cash buffer, all
    of them are scaled by the same factor, with the sells' proceeds counted at the reference price. A halted
    book sends nothing. What cannot be ordered is a denial. `DataError` when the symbols differ.
    """
    if targets.symbols != book.symbols:
        raise DataError(f"targets and book must speak of the same symbols, were {targets.symbols} and {book.symbols}")
    changes, denials = _changes(targets, book, lots)
    if changes and book.state is TradingState.HALTED:
        halted = tuple(Denial(code="BOOK_HALTED", observed=1.0, limit=0.0, symbol=c.symbol) for c in changes)
        return Plan(intents=(), denials=(*denials, *halted))
    sells, refused = _accepted([c for c in changes if c.quantity < 0], params, Decimal(1))
    denials += refused
    buys = [c for c in changes if c.quantity > 0]
    factor = _affordable(sells, buys, book, params, denials)
    bought, refused = _accepted(buys, params, factor)
    denials += refused
    intents = tuple(_intent(change, targets.bar_ts, key) for change in (*sells, *bought))
    return Plan(intents=intents, denials=tuple(denials))


def _changes(targets: TargetWeights, book: BookView, lots: Mapping[str, Lot]) -> tuple[list[_Change], list[Denial]]:
    """The wanted changes in units of each symbol, and the ones that cannot be expressed."""
    changes, denials = [], []
    for j, (weight, previous) in enumerate(zip(targets.weights, targets.previous, strict=True)):
        if abs(weight - previous) < SMALLEST_CHANGE:
            continue
        symbol, price, held = book.symbols[j], book.price[j], book.quantity[j]
        lot = lots.get(symbol)
        if price is None or price <= 0:
            denials.append(Denial(code="NO_PRICE", observed=1.0, limit=0.0, symbol=symbol))
        elif not book.tradable[j]:
            denials.append(Denial(code="NOT_TRADABLE", observed=1.0, limit=0.0, symbol=symbol))
        elif lot is None:
            denials.append(Denial(code="LOT_UNKNOWN", observed=1.0, limit=0.0, symbol=symbol))
        else:
            # A float becomes money only through digits that are written down.
            wanted = ZERO if weight == 0.0 else Decimal(f"{weight:.6f}") * book.equity / price
            changes.append(_Change(symbol=symbol, quantity=wanted - held, held=held, price=price, lot=lot))
    return changes, denials


def _accepted(changes: list[_Change], params: ExecuteParams, factor: Decimal) -> tuple[list[_Change], list[Denial]]:
    """The changes scaled by `factor` and in whole lots, without those that break a bound."""
    accepted, denials = [], []
    for change in changes:
        quantity = in_lots(change.quantity * factor, change.lot.quantity_step)
        notional = abs(quantity) * change.price
        least = max(change.lot.min_notional, change.lot.quantity_step * change.price)
        if notional < least:
            asked = abs(change.quantity * factor) * change.price
            denials.append(_denial("NOTIONAL_BELOW_MINIMUM", asked, least, change))
        elif notional > params.max_notional and change.adds:
            denials.append(_denial("NOTIONAL_ABOVE_LIMIT", notional, params.max_notional, change))
        else:
            accepted.append(replace(change, quantity=quantity))
    return accepted, denials


def _affordable(
    sells: list[_Change], buys: list[_Change], book: BookView, params: ExecuteParams, denials: list[Denial]
) -> Decimal:
    """Factor on all buys, 0 to 1, that keeps the cash buffer; a denial when it is below 1."""
    cost = sum((change.quantity * change.price for change in buys), ZERO)
    proceeds = sum((-change.quantity * change.price for change in sells), ZERO)
    available = max(ZERO, book.free_cash + proceeds - params.cash_buffer * book.equity)
    if cost <= available:
        return Decimal(1)
    denials.append(Denial(code="CASH_BELOW_BUFFER", observed=float(cost), limit=float(available)))
    return available / cost


def _denial(code: str, observed: Decimal, limit: Decimal, change: _Change) -> Denial:
    return Denial(code=code, observed=float(observed), limit=float(limit), symbol=change.symbol)


def _intent(change: _Change, bar_ts: datetime, key: str) -> OrderIntent:
    side = Side.BUY if change.quantity > 0 else Side.SELL
    return OrderIntent(
        client_order_id=client_order_id(key, bar_ts, change.symbol, side),
        symbol=change.symbol,
        side=side,
        quantity=abs(change.quantity),
        reference_price=change.price,
        bar_ts=bar_ts,
    )
