"""Settlement: a new bar fills the paper orders that waited for it, once, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.utils import timezone

from helios.db import statements
from trading.books.accounting import Account, Fill, OpenOrder, exact
from trading.books.read import account_of
from trading.market.lots import Lot, smallest_steps
from trading.models import Book, Order, PaperOrder, Position, TradeExecution
from trading.venues.paper import matching

S = Order.Status
TOO_LATE: Final = "no bar of its symbol came for a week"
Waiting = dict[str, tuple[PaperOrder, Order]]  # by client order id: at the venue, and here
Settled = tuple[PaperOrder, Order, Fill | None]
_WAITING = f"""
    SELECT b.bar_ts, b.open, {statements.columns(PaperOrder, "p")}, {statements.columns(Order, "o")}
    FROM paper_orders p JOIN orders o ON o.client_order_id = p.client_order_id
    CROSS JOIN LATERAL (
        SELECT bar_ts, open FROM market_ohlc m
        WHERE m.symbol = p.symbol AND m.timeframe = %s AND m.bar_ts > p.bar_ts AND m.bar_ts <= %s
        ORDER BY m.bar_ts LIMIT 1
    ) b
    WHERE p.book_id = %s AND p.status = 'OPEN' ORDER BY b.bar_ts, p.id
"""  # noqa: S608 - names of the models
_POSITION = ["quantity", "cost", "realised_pnl", "fees_paid", "last_price", "updated_at"]


def settle(book: Book, bar_ts: datetime, closes: Mapping[str, Decimal], lots: Mapping[str, Lot]) -> list[Fill]:
    """Fill each open paper order at the open of its symbol's first stored bar after the decision, up to `bar_ts`.

    That is this bar unless a cycle in between was skipped or failed: the order then still fills where it would have.
    Then the book is valued at this bar's `closes`, so that its peak is known even when the cycle goes no further.

    Runs in the caller's transaction, which holds the book's row: executions, positions, cash and orders change
    together or not at all.
    """
    held = statements.select(Position, "t.book_id = %s ORDER BY t.symbol", [book.pk])
    positions = {position.symbol: position for position in held}
    account = account_of(book, positions.values())
    results = [] if book.mode == Book.Mode.LIVE else _fill(book, account, bar_ts, smallest_steps(lots))
    _close(results)
    fills = {order.pk: fill for _, order, fill in results if fill is not None}
    moved = _move(positions, account, {fill.symbol for fill in fills.values()}, closes)
    statements.execute(
        [
            *statements.update([placed for placed, _, _ in results], ["status"]),
            *statements.update(
                [order for _, order, _ in results], ["filled_quantity", "status", "reason", "updated_at"]
            ),
            *statements.inserts(_execution(book, order, fill) for order, fill in fills.items()),
            *statements.update(moved, _POSITION),
            *_value(book, account, positions.values()),
        ]
    )
    return list(fills.values())


def _fill(book: Book, account: Account, bar_ts: datetime, steps: Mapping[str, Decimal]) -> list[Settled]:
    """Carry out on the account what fills up to `bar_ts`."""
    results: list[Settled] = []
    for moment, waiting, opens in _by_fill_bar(book, bar_ts):
        results += [(*waiting.pop(each), None) for each in _late(book, moment, waiting)]
        settled = matching.settle(
            account,
            [_open_order(placed) for placed, _ in waiting.values()],
            opens,
            bar_ts=moment,
            fee_bps=book.fee_bps,
            slippage_bps=book.slippage_bps,
            steps=steps,
        )
        results += [(*waiting[each.client_order_id], fill) for each, fill in settled]
    return results


def _late(book: Book, moment: datetime, waiting: Waiting) -> list[str]:
    """Take note of the orders whose bar comes too late for them, by client order id."""
    found = [key for key, (placed, _) in waiting.items() if matching.is_late(placed.bar_ts, moment, book.timeframe)]
    for key in found:
        waiting[key][1].reason = TOO_LATE
    return found


def _by_fill_bar(book: Book, bar_ts: datetime) -> list[tuple[datetime, Waiting, dict[str, Decimal]]]:
    """Open orders by the bar in which they fill, earliest first, with that bar's opens; others have none yet."""
    groups: dict[datetime, tuple[Waiting, dict[str, Decimal]]] = {}
    n_placed = len(PaperOrder._meta.concrete_fields)
    for moment, opened, *columns in statements.fetch(_WAITING, [book.timeframe, bar_ts, book.pk]):
        placed = statements.instance(PaperOrder, columns[:n_placed])
        waiting, opens = groups.setdefault(moment, ({}, {}))
        waiting[placed.client_order_id] = placed, statements.instance(Order, columns[n_placed:])
        opens[placed.symbol] = exact(opened)
    return [(moment, *group) for moment, group in groups.items()]


def _open_order(order: PaperOrder) -> OpenOrder:
    return OpenOrder(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        bar_ts=order.bar_ts,
    )


def _close(results: Iterable[Settled]) -> None:
    """An order ends at its first bar: what cash did not cover, or a bar that came too late, is not carried on."""
    now = timezone.now()
    for placed, order, fill in results:
        filled = Decimal(0) if fill is None else fill.quantity
        placed.status = "CANCELLED" if fill is None else "FILLED"
        order.filled_quantity, order.updated_at = filled, now
        order.status = S.CANCELLED if fill is None else S.FILLED
        if filled < order.quantity and order.reason != TOO_LATE:
            short = (order.quantity - filled).normalize()
            order.reason = f"INSUFFICIENT_CASH: {short:f} of {order.quantity.normalize():f} not bought"


def _execution(book: Book, order_id: int, fill: Fill) -> TradeExecution:
    return TradeExecution(
        order_id=order_id,
        book=book,
        venue_fill_id=f"{fill.client_order_id}-1",
        symbol=fill.symbol,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        notional=fill.notional,
        fee=fill.fee,
        slippage_bps=book.slippage_bps,
        bar_ts=fill.bar_ts,
    )


def _move(
    positions: Mapping[str, Position], account: Account, traded: set[str], closes: Mapping[str, Decimal]
) -> list[Position]:
    """Bring positions to what the account holds and to their newest price; returns those that changed."""
    moved = []
    for symbol, position in positions.items():
        price = closes.get(symbol, position.last_price)
        if symbol not in traded and price == position.last_price:
            continue
        holding = account.holdings[symbol]
        position.quantity, position.cost = holding.quantity, holding.cost
        position.realised_pnl, position.fees_paid = holding.realised_pnl, holding.fees_paid
        position.last_price, position.updated_at = price, timezone.now()
        moved.append(position)
    return moved


def _value(book: Book, account: Account, positions: Iterable[Position]) -> list[statements.Part]:
    """The book's cash, and its equity where that is a new peak."""
    prices = {each.symbol: each.last_price for each in positions if each.last_price is not None}
    peak = max(book.peak_equity, account.equity(prices))
    if (book.cash, book.peak_equity) == (account.cash, peak):
        return []
    book.cash, book.peak_equity, book.updated_at = account.cash, peak, timezone.now()
    return statements.update([book], ["cash", "peak_equity", "updated_at"])
