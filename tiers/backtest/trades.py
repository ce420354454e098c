"""From fills to trades, by average cost.

A position is opened by a fill away from zero and grown by fills of the same direction; each fill against it
closes one trade: that quantity, at the average price paid for what was open, with its share of the entry fees
and its own fee. A fill across zero closes what was open and opens the rest, its fee split by quantity. A
rebalanced position thus yields one trade for every reduction (the convention of average-cost accounting), and
the profits of all trades, open ones at the last price included, add up to the change of the equity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from trading.books.accounting import ZERO, Fill
from trading.enums import Side


class Direction(StrEnum):
    LONG = "LONG"
    SHORT = "SHORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A closed part of a position, or, with `is_open`, what is still held, valued at the last price."""

    symbol: str
    direction: Direction
    quantity: Decimal
    opened_ts: datetime  # close of the bar in which the position left zero
    closed_ts: datetime  # close of the bar of the exit, or the last bar
    entry_price: Decimal  # average
    exit_price: Decimal
    fees: Decimal  # the share of the entry fees and the exit fee
    pnl: Decimal  # after fees
    is_open: bool = False

    @property
    def return_pct(self) -> float:
        """Profit after fees over the money put in."""
        return 100.0 * float(self.pnl / (self.entry_price * self.quantity))


@dataclass(slots=True)
class _Lot:
    """What is open of one symbol: signed quantity, the money paid for it (positive), fees on the way in."""

    quantity: Decimal
    cost: Decimal
    fees: Decimal
    opened_ts: datetime


def round_trips(fills: Iterable[Fill]) -> tuple[list[Trade], dict[str, _Lot]]:
    """The closed trades in the order of their exits, and what is left open by symbol."""
    lots: dict[str, _Lot] = {}
    trades: list[Trade] = []
    for fill in fills:
        lot = lots.get(fill.symbol)
        change = fill.signed_quantity
        closing = ZERO
        if lot is not None and lot.quantity * change < 0:
            closing = min(fill.quantity, abs(lot.quantity))
            trades.append(_close(lot, fill, closing))
            if lot.quantity == 0:
                del lots[fill.symbol]
        if fill.quantity > closing:
            _grow(lots, fill, fill.quantity - closing)
    return trades, lots


def all_trades(fills: Iterable[Fill], prices: Mapping[str, Decimal], at: datetime) -> list[Trade]:
    """Closed trades, then what is still open at `prices` (by symbol) at the time `at`."""
    trades, lots = round_trips(fills)
    for symbol, lot in sorted(lots.items()):
        price, held = prices[symbol], abs(lot.quantity)
        trades.append(_trade(lot, symbol, held, at=at, value=held * price, cost=lot.cost, fees=lot.fees, is_open=True))
    return trades


def _grow(lots: dict[str, _Lot], fill: Fill, quantity: Decimal) -> None:
    signed = quantity if fill.side == Side.BUY else -quantity
    lot = lots.setdefault(fill.symbol, _Lot(ZERO, ZERO, ZERO, fill.bar_ts))
    lot.quantity += signed
    lot.cost += fill.notional * quantity / fill.quantity
    lot.fees += fill.fee * quantity / fill.quantity


def _close(lot: _Lot, fill: Fill, quantity: Decimal) -> Trade:
    """Take `quantity` out of the lot; the lot shrinks in place."""
    held = abs(lot.quantity)
    cost, entry_fees = lot.cost * quantity / held, lot.fees * quantity / held
    trade = _trade(
        lot,
        fill.symbol,
        quantity,
        at=fill.bar_ts,
        value=fill.notional * quantity / fill.quantity,
        cost=cost,
        fees=entry_fees + fill.fee * quantity / fill.quantity,
    )
    lot.quantity -= quantity if lot.quantity > 0 else -quantity
    lot.cost -= cost
    lot.fees -= entry_fees
    return trade


def _trade(
    lot: _Lot,
    symbol: str,
    quantity: Decimal,
    *,
    at: datetime,
    value: Decimal,
    cost: Decimal,
    fees: Decimal,
    is_open: bool = False,
) -> Trade:
    gain = value - cost if lot.quantity > 0 else cost - value
    return Trade(
        symbol=symbol,
        direction=Direction.LONG if lot.quantity > 0 else Direction.SHORT,
        quantity=quantity,
        opened_ts=lot.opened_ts,
        closed_ts=at,
        entry_price=cost / quantity,
        exit_price=value / quantity,
        fees=fees,
        pnl=gain - fees,
        is_open=is_open,
    )
