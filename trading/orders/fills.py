"""Settlement: a new bar fills the paper orders that waited for it, once, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.utils import timezone

from trading.books.accounting import Account, Fill, OpenOrder, exact
from trading.books.write import account_of
from trading.market import instruments
from trading.market.lots import smallest_steps
from trading.models import Book, Order, PaperOrder, Position, TradeExecution
from trading.venues.paper import matching

S = Order.Status


def settle(book: Book, bar_ts: datetime) -> list[Fill]:
    """Fill each open paper order at the open of its symbol's first stored bar after the decision, up to `bar_ts`.

    That is this bar unless a cycle in between was skipped or failed: the order then still fills where it would have.

    Runs in the caller's transaction, which holds the book's row: executions, positions, cash and orders change
    together or not at all.
    """
    if book.mode == Book.Mode.LIVE:
        return []
    placed = {order.client_order_id: order for order in PaperOrder.objects.filter(book=book, status="OPEN")}
    if not placed:
        return []
    account, steps = account_of(book), smallest_steps(instruments.lots(book.symbols))
    results = []
    for moment, waiting, opens in _by_fill_bar(book, list(placed.values()), bar_ts):
        results += matching.settle(
            account,
            [_open_order(order) for order in waiting],
            opens,
            bar_ts=moment,
            fee_bps=book.fee_bps,
            slippage_bps=book.slippage_bps,
            steps=steps,
        )
    orders = {o.client_order_id: o for o in Order.objects.filter(client_order_id__in=list(placed))}
    _close([(placed[o.client_order_id], orders[o.client_order_id], fill) for o, fill in results])
    fills = [fill for _, fill in results if fill is not None]
    _write_executions(book, orders, fills)
    _write_account(book, account, {fill.symbol for fill in fills})
    return fills


def _by_fill_bar(
    book: Book, placed: list[PaperOrder], bar_ts: datetime
) -> list[tuple[datetime, list[PaperOrder], dict[str, Decimal]]]:
    """Orders grouped by the bar in which they fill, earliest first, with that bar's opens; others have none yet."""
    groups: dict[datetime, tuple[list[PaperOrder], dict[str, Decimal]]] = {}
    firsts = _first_bars(book.timeframe, placed, bar_ts)
    for order in placed:
        first = firsts.get(order.pk)
        if first is not None:
            waiting, opens = groups.setdefault(first[0], ([], {}))
            waiting.append(order)
            opens[order.symbol] = exact(first[1])
    return [(moment, *groups[moment]) for moment in sorted(groups)]


def _first_bars(timeframe: str, placed: list[PaperOrder], bar_ts: datetime) -> dict[int, tuple[datetime, float]]:
    """Time and open of the first bar of each order's symbol behind its decision, up to `bar_ts`, by order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.id, b.bar_ts, b.open FROM paper_orders o CROSS JOIN LATERAL ("
            "  SELECT bar_ts, open FROM market_ohlc m WHERE m.symbol = o.symbol AND m.timeframe = %s "
            "  AND m.bar_ts > o.bar_ts AND m.bar_ts <= %s ORDER BY m.bar_ts LIMIT 1) b WHERE o.id = ANY(%s)",
            [timeframe, bar_ts, [order.pk for order in placed]],
        )
        return {pk: (moment, opened) for pk, moment, opened in cursor.fetchall()}


def _open_order(order: PaperOrder) -> OpenOrder:
    return OpenOrder(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        bar_ts=order.bar_ts,
    )


def _close(results: list[tuple[PaperOrder, Order, Fill | None]]) -> None:
    """An order ends at its first bar: what the cash did not cover is cancelled, not carried on."""
    now = timezone.now()
    for placed, order, fill in results:
        filled = Decimal(0) if fill is None else fill.quantity
        placed.status = "CANCELLED" if fill is None else "FILLED"
        order.filled_quantity, order.updated_at = filled, now
        order.status = S.CANCELLED if fill is None else S.FILLED
        if filled < order.quantity:
            short = (order.quantity - filled).normalize()
            order.reason = f"INSUFFICIENT_CASH: {short:f} of {order.quantity.normalize():f} not bought"
    PaperOrder.objects.bulk_update([placed for placed, _, _ in results], ["status"])
    Order.objects.bulk_update([order for _, order, _ in results], ["filled_quantity", "status", "reason", "updated_at"])


def _write_executions(book: Book, orders: Mapping[str, Order], fills: list[Fill]) -> None:
    TradeExecution.objects.bulk_create(
        TradeExecution(
            order=orders[fill.client_order_id],
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
        for fill in fills
    )


def _write_account(book: Book, account: Account, symbols: set[str]) -> None:
    now, moved = timezone.now(), list(Position.objects.filter(book=book, symbol__in=symbols))
    for position in moved:
        holding = account.holdings[position.symbol]
        position.quantity = holding.quantity
        position.average_price = holding.average_price
        position.realised_pnl = holding.realised_pnl
        position.fees_paid = holding.fees_paid
        position.updated_at = now
    Position.objects.bulk_update(moved, ["quantity", "average_price", "realised_pnl", "fees_paid", "updated_at"])
    book.cash = account.cash
    book.save(update_fields=["cash", "updated_at"])
