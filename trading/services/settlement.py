"""Settlement: a new bar fills the paper orders that waited for it, once, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from trading.accounting import Account, Fill, OpenOrder, exact
from trading.brokers import paper
from trading.models import Book, Instrument, MarketOHLC, Order, PaperOrder, Position, TradeExecution
from trading.services.books import account_of

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
    account, steps = account_of(book), _steps(book)
    results = []
    for moment, waiting, opens in _by_fill_bar(book, list(placed.values()), bar_ts):
        results += paper.settle(
            account,
            [_open_order(order) for order in waiting],
            opens,
            bar_ts=moment,
            fee_bps=book.fee_bps,
            slippage_bps=book.slippage_bps,
            steps=steps,
        )
    orders = {o.client_order_id: o for o in Order.objects.filter(client_order_id__in=list(placed))}
    for open_order, fill in results:
        _close(placed[open_order.client_order_id], orders[open_order.client_order_id], fill)
    fills = [fill for _, fill in results if fill is not None]
    _write_executions(book, orders, fills)
    _write_account(book, account, {fill.symbol for fill in fills})
    return fills


def _by_fill_bar(
    book: Book, placed: list[PaperOrder], bar_ts: datetime
) -> list[tuple[datetime, list[PaperOrder], dict[str, Decimal]]]:
    """Orders grouped by the bar in which they fill, earliest first, with that bar's opens; others have none yet."""
    groups: dict[datetime, tuple[list[PaperOrder], dict[str, Decimal]]] = {}
    for order in placed:
        first = (
            MarketOHLC.objects.filter(
                symbol=order.symbol, timeframe=book.timeframe, bar_ts__gt=order.bar_ts, bar_ts__lte=bar_ts
            )
            .order_by("bar_ts")
            .values_list("bar_ts", "open")
            .first()
        )
        if first is not None:
            waiting, opens = groups.setdefault(first[0], ([], {}))
            waiting.append(order)
            opens[order.symbol] = exact(first[1])
    return [(moment, *groups[moment]) for moment in sorted(groups)]


def _open_order(order: PaperOrder) -> OpenOrder:
    return OpenOrder(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        bar_ts=order.bar_ts,
    )


def _steps(book: Book) -> dict[str, Decimal]:
    return dict(Instrument.objects.filter(symbol__in=book.symbols).values_list("symbol", "quantity_step"))


def _close(placed: PaperOrder, order: Order, fill: Fill | None) -> None:
    """An order ends at its first bar: what the cash did not cover is cancelled, not carried on."""
    filled = Decimal(0) if fill is None else fill.quantity
    placed.status = "CANCELLED" if fill is None else "FILLED"
    placed.save(update_fields=["status"])
    order.filled_quantity = filled
    order.status = S.CANCELLED if fill is None else S.FILLED
    if filled < order.quantity:
        short = (order.quantity - filled).normalize()
        order.reason = f"INSUFFICIENT_CASH: {short:f} of {order.quantity.normalize():f} not bought"
    order.save(update_fields=["filled_quantity", "status", "reason", "updated_at"])


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
    for position in Position.objects.filter(book=book, symbol__in=symbols):
        holding = account.holdings[position.symbol]
        position.quantity = holding.quantity
        position.average_price = holding.average_price
        position.realised_pnl = holding.realised_pnl
        position.fees_paid = holding.fees_paid
        position.save()
    book.cash = account.cash
    book.save(update_fields=["cash", "updated_at"])
