"""Settlement: splits and dividends are booked, and a new bar fills the paper orders that waited for it, each once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.utils import timezone

from helios.db import statements
from trading.books.accounting import Account, Booked, Fill, OpenOrder, exact
from trading.books.read import account_of
from trading.enums import TradingState
from trading.market.actions import Action
from trading.market.lots import Lot, quantity_steps
from trading.models import Book, Order, PaperOrder, Position, TradeExecution
from trading.orders import due_actions
from trading.venues.paper import matching

S = Order.Status
TOO_LATE: Final = "no bar of its symbol came for a week"
OLD_SHARES: Final = "its symbol split after the decision"
HALTED: Final = "the book was halted before it filled"
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
_LAST_CLOSES = """
    SELECT s.symbol, b.close FROM unnest(%s::text[]) AS s(symbol) CROSS JOIN LATERAL (
        SELECT close FROM market_ohlc m WHERE m.symbol = s.symbol AND m.timeframe = %s AND m.bar_ts <= %s
        ORDER BY m.bar_ts DESC LIMIT 1
    ) b
"""
_POSITION = ["quantity", "cost", "realised_pnl", "fees_paid", "dividends", "last_price", "updated_at"]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What moved a book at a bar."""

    fills: list[Fill]
    booked: list[Booked]


def settle(
    book: Book,
    bar_ts: datetime,
    closes: Mapping[str, Decimal],
    lots: Mapping[str, Lot],
    with_actions: Collection[str] = (),
) -> Settlement:
    """Fill each open paper order at the open of its symbol's first stored bar after the decision, up to `bar_ts`.

    That is this bar unless a cycle in between was skipped or failed: the order then still fills where it would have.
    What waits in a halted book ends without a fill.
    Splits and dividends of `with_actions`, the symbols that have any, are booked before the fills of the first bar
    without them; a split ends the orders of before. Then the book is valued at this bar's `closes`, and what has none
    at its last one, so that its peak is known even when the cycle goes no further.

    Runs in the caller's transaction, which holds the book's row: executions, positions, cash and orders change
    together or not at all.
    """
    held = statements.select(Position, "t.book_id = %s ORDER BY t.symbol", [book.pk])
    positions = {position.symbol: position for position in held}
    account = account_of(book, positions.values())
    results: list[Settled] = []
    booked: list[Booked] = []
    if book.mode != Book.Mode.LIVE:
        results, booked = _fill(book, account, bar_ts, quantity_steps(lots), with_actions)
    _close(results)
    fills = {order.pk: fill for _, order, fill in results if fill is not None}
    traded = {fill.symbol for fill in fills.values()} | {each.symbol for each in booked}
    moved = _move(positions, account, traded, _marks(book, account, bar_ts, closes))
    statements.execute(
        [
            *statements.update([placed for placed, _, _ in results], ["status"]),
            *statements.update(
                [order for _, order, _ in results], ["filled_quantity", "status", "reason", "updated_at"]
            ),
            *statements.inserts(_execution(book, order, fill) for order, fill in fills.items()),
            *statements.inserts(due_actions.rows_of(book, booked)),
            *statements.update(moved, _POSITION),
            *_value(book, account, positions.values()),
        ]
    )
    return Settlement(list(fills.values()), booked)


def _fill(
    book: Book, account: Account, bar_ts: datetime, steps: Mapping[str, Decimal], with_actions: Collection[str]
) -> tuple[list[Settled], list[Booked]]:
    """Carry out on the account what came due and what fills up to `bar_ts`."""
    groups = _by_fill_bar(book, bar_ts)
    ordered: dict[str, datetime | None] = {s: None for s in with_actions if account.quantity(s)}
    for placed, _ in (pair for waiting, _ in groups.values() for pair in waiting.values()):
        if placed.symbol in with_actions:
            ordered[placed.symbol] = min(ordered.get(placed.symbol) or placed.bar_ts, placed.bar_ts)
    due = due_actions.due_actions(book, bar_ts, ordered)
    results: list[Settled] = []
    booked: list[Booked] = []
    for moment in sorted({*groups, *due}):
        waiting, opens = groups.get(moment, ({}, {}))
        for each in due.get(moment, ()):
            step = steps[each.action.symbol]
            found = account.book(each.action, price=each.price, step=step, bar_ts=moment) if each.is_new else None
            booked += [] if found is None else [found]
            results += [(*waiting.pop(key), None) for key in _of_old_shares(each.action, waiting)]
        results += [(*waiting.pop(each), None) for each in _too_late(book, moment, waiting)]
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
    return results, booked


def _of_old_shares(action: Action, waiting: Waiting) -> list[str]:
    """Take note of the orders of before a split, by client order id."""
    found = [key for key, (placed, _) in waiting.items() if matching.is_of_old_shares(_open_order(placed), action)]
    for key in found:
        waiting[key][1].reason = OLD_SHARES
    return found


def _too_late(book: Book, moment: datetime, waiting: Waiting) -> list[str]:
    """Take note of the orders whose bar comes too late for them, or behind a halt, by client order id."""
    halted = book.state == TradingState.HALTED
    late = [key for key, (at, _) in waiting.items() if matching.is_late(at.bar_ts, moment, book.timeframe)]
    for key in waiting if halted else late:
        waiting[key][1].reason = TOO_LATE if key in late else HALTED
    return list(waiting) if halted else late


def _by_fill_bar(book: Book, bar_ts: datetime) -> dict[datetime, tuple[Waiting, dict[str, Decimal]]]:
    """Open orders by the bar in which they fill, with that bar's opens; others have none yet."""
    groups: dict[datetime, tuple[Waiting, dict[str, Decimal]]] = {}
    n_placed = len(PaperOrder._meta.concrete_fields)
    for moment, opened, *columns in statements.fetch(_WAITING, [book.timeframe, bar_ts, book.pk]):
        placed = statements.instance(PaperOrder, columns[:n_placed])
        waiting, opens = groups.setdefault(moment, ({}, {}))
        waiting[placed.client_order_id] = placed, statements.instance(Order, columns[n_placed:])
        opens[placed.symbol] = exact(opened)
    return groups


def _open_order(order: PaperOrder) -> OpenOrder:
    return OpenOrder(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        bar_ts=order.bar_ts,
    )


def _close(results: Iterable[Settled]) -> None:
    """An order ends at its first bar, and nothing of it is carried on."""
    now = timezone.now()
    for placed, order, fill in results:
        filled = Decimal(0) if fill is None else fill.quantity
        placed.status = "CANCELLED" if fill is None else "FILLED"
        order.filled_quantity, order.updated_at = filled, now
        order.status = S.CANCELLED if fill is None else S.FILLED
        if filled < order.quantity and order.reason not in {TOO_LATE, OLD_SHARES, HALTED}:
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


def _marks(book: Book, account: Account, bar_ts: datetime, closes: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
    """The closes of the bar; of what is held without one the last before, which a cycle that was left out may have."""
    absent = [symbol for symbol, held in account.holdings.items() if held.quantity and symbol not in closes]
    rows = statements.fetch(_LAST_CLOSES, [absent, book.timeframe, bar_ts]) if absent else []
    return {**closes, **{symbol: exact(close) for symbol, close in rows}}


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
        position.dividends = holding.dividends
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
