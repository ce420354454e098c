"""The paper venue's matching: market orders fill at the next bar's open, with slippage and a fee. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from trading.books.accounting import BPS, SMALLEST_AMOUNT, Account, Fill, OpenOrder, rounded
from trading.enums import Side
from trading.market.actions import Action
from trading.market.calendars import LONGEST_CLOSURE
from trading.market.lots import in_lots
from trading.market.timeframes import seconds


def fill_price(open_price: Decimal, side: str, slippage_bps: Decimal) -> Decimal:
    """The open moved against the order by `slippage_bps`: the mean over the levels it took, which no tick rounds."""
    shift = open_price * slippage_bps / BPS
    return open_price + shift if side == Side.BUY else open_price - shift


def match(
    order: OpenOrder,
    open_price: Decimal,
    *,
    bar_ts: datetime,
    fee_bps: Decimal,
    slippage_bps: Decimal,
    cash: Decimal,
    quantity_step: Decimal,
) -> Fill | None:
    """The fill of one order at one bar's open, or None when the cash buys not even one lot, or one worth nothing.

    A purchase never overdraws: what the cash does not cover, fee included, stays unfilled, in whole lots.
    """
    price = fill_price(open_price, order.side, slippage_bps)
    quantity = order.quantity
    if order.side == Side.BUY:
        affordable = in_lots(cash / (price * (1 + fee_bps / BPS)), quantity_step)
        while affordable > 0 and _cost(affordable, price, fee_bps) > cash:  # rounding of notional and fee
            affordable = in_lots(affordable - max(quantity_step, SMALLEST_AMOUNT / price), quantity_step)
        quantity = min(quantity, affordable)
    notional = rounded(quantity * price)
    if quantity <= 0 or notional <= 0:
        return None
    return Fill(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=quantity,
        price=price,
        notional=notional,
        fee=rounded(notional * fee_bps / BPS),
        bar_ts=bar_ts,
    )


def _cost(quantity: Decimal, price: Decimal, fee_bps: Decimal) -> Decimal:
    notional = rounded(quantity * price)
    return notional + rounded(notional * fee_bps / BPS)


def is_late(decided: datetime, bar_ts: datetime, timeframe: str) -> bool:
    """Whether the bar that closes at `bar_ts` began more than a week after a decision: its orders ended before."""
    return bar_ts - timedelta(seconds=seconds(timeframe)) - decided > LONGEST_CLOSURE


def is_of_old_shares(order: OpenOrder, action: Action) -> bool:
    """Whether an order was decided before a split of its symbol: its quantity is one of other shares."""
    return action.is_split and order.symbol == action.symbol and order.bar_ts <= action.ex_ts


def priority(order: OpenOrder) -> tuple[bool, str, str]:
    """Sort key: sales first, since they bring the cash for purchases; then by symbol."""
    return (order.side == Side.BUY, order.symbol, order.client_order_id)


def settle(
    account: Account,
    orders: Iterable[OpenOrder],
    opens: Mapping[str, Decimal],
    *,
    bar_ts: datetime,
    fee_bps: Decimal,
    slippage_bps: Decimal,
    steps: Mapping[str, Decimal],
) -> list[tuple[OpenOrder, Fill | None]]:
    """Match the orders decided before `bar_ts` against that bar's opens and book the fills in `account`.

    Returns each order that had a bar, with its fill or None when there was no cash for it. Orders whose
    symbol has no bar stay open and are not in the result.
    """
    results: list[tuple[OpenOrder, Fill | None]] = []
    for order in sorted(orders, key=priority):
        open_price = opens.get(order.symbol)
        if open_price is None or order.bar_ts >= bar_ts:
            continue
        fill = match(
            order,
            open_price,
            bar_ts=bar_ts,
            fee_bps=fee_bps,
            slippage_bps=slippage_bps,
            cash=account.cash,
            quantity_step=steps[order.symbol],
        )
        if fill is not None:
            account.apply(fill)
        results.append((order, fill))
    return results
