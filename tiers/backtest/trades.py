"""From fills to reductions of positions, by average cost, and from those to trades from flat to flat.

A position is opened by a fill away from zero and grown by fills of the same direction; each fill against it
is one reduction: that quantity, at the average price paid for what was open, with its share of the entry fees
and its own fee. A fill across zero closes what was open and opens the rest, its fee split by quantity. A split changes
the quantity that is open, and what it pays out is a reduction; a dividend belongs to what is open when it is paid, and
each reduction has its share. The profits of all reductions, what is open at the last price included, add up to the
change of the equity. A trade is a position from the fill that leaves zero to the one that is back at it, however often
it was reduced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from trading.books.accounting import ZERO, Booked, Fill
from trading.enums import Side


class Direction(StrEnum):
    LONG = "LONG"
    SHORT = "SHORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """A closed part of a position, or, with `is_open`, what is still held, valued at the last price."""

    symbol: str
    direction: Direction
    quantity: Decimal
    opened_ts: datetime  # close of the bar in which the position left zero
    closed_ts: datetime  # close of the bar of the exit, or the last bar
    entry_price: Decimal  # average
    exit_price: Decimal
    fees: Decimal  # the share of the entry fees and the exit fee
    dividends: Decimal  # the share of those that were paid; of a short below 0
    pnl: Decimal  # after fees, with dividends
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
    dividends: Decimal = ZERO


def reductions_of(moves: Iterable[Fill | Booked]) -> tuple[list[Reduction], dict[str, _Lot]]:
    """The reductions in their order, and what is left open by symbol."""
    lots: dict[str, _Lot] = {}
    reductions: list[Reduction] = []
    for move in moves:
        fill = _of_action(lots, move) if isinstance(move, Booked) else move
        if fill is None:
            continue
        lot = lots.get(fill.symbol)
        change = fill.signed_quantity
        closing = ZERO
        if lot is not None and lot.quantity * change < 0:
            closing = min(fill.quantity, abs(lot.quantity))
            reductions.append(_close(lot, fill, closing))
            if lot.quantity == 0:
                del lots[fill.symbol]
        if fill.quantity > closing:
            _grow(lots, fill, fill.quantity - closing)
    return reductions, lots


def _of_action(lots: dict[str, _Lot], booked: Booked) -> Fill | None:
    """Bring the lot to its new shares, or add its dividend; what a split pays out as a sale (or purchase) of shares."""
    lot = lots[booked.symbol]
    if not booked.action.is_split:
        lot.dividends += booked.cash
        return None
    lot.quantity, paid_out = booked.whole, abs(booked.whole - booked.remaining)
    if not paid_out:
        return None
    return Fill(
        client_order_id="",
        symbol=booked.symbol,
        side=Side.SELL if lot.quantity > 0 else Side.BUY,
        quantity=paid_out,
        price=booked.price,
        notional=abs(booked.cash),
        fee=ZERO,
        bar_ts=booked.bar_ts,
    )


def with_open(moves: Iterable[Fill | Booked], prices: Mapping[str, Decimal], at: datetime) -> list[Reduction]:
    """The reductions, then what is still open at `prices` (by symbol) at the time `at`."""
    reductions, lots = reductions_of(moves)
    for symbol, lot in sorted(lots.items()):
        price, held = prices[symbol], abs(lot.quantity)
        reductions.append(
            _reduction(
                lot,
                symbol,
                held,
                at=at,
                value=held * price,
                cost=lot.cost,
                fees=lot.fees,
                dividends=lot.dividends,
                is_open=True,
            )
        )
    return reductions


def flat_to_flat(reductions: Iterable[Reduction]) -> list[tuple[datetime, Decimal]]:
    """When each position was back at zero, and its profit after fees; what is still held is no trade yet."""
    positions: dict[tuple[str, Direction, datetime], list[Reduction]] = {}
    for one in reductions:
        positions.setdefault((one.symbol, one.direction, one.opened_ts), []).append(one)
    ended = [parts for parts in positions.values() if not parts[-1].is_open]
    return sorted((parts[-1].closed_ts, sum((one.pnl for one in parts), ZERO)) for parts in ended)


def _grow(lots: dict[str, _Lot], fill: Fill, quantity: Decimal) -> None:
    signed = quantity if fill.side == Side.BUY else -quantity
    lot = lots.setdefault(fill.symbol, _Lot(ZERO, ZERO, ZERO, fill.bar_ts))
    lot.quantity += signed
    lot.cost += fill.notional * quantity / fill.quantity
    lot.fees += fill.fee * quantity / fill.quantity


def _close(lot: _Lot, fill: Fill, quantity: Decimal) -> Reduction:
    """Take `quantity` out of the lot; the lot shrinks in place."""
    held = abs(lot.quantity)
    cost, entry_fees, dividends = (part * quantity / held for part in (lot.cost, lot.fees, lot.dividends))
    reduction = _reduction(
        lot,
        fill.symbol,
        quantity,
        at=fill.bar_ts,
        value=fill.notional * quantity / fill.quantity,
        cost=cost,
        fees=entry_fees + fill.fee * quantity / fill.quantity,
        dividends=dividends,
    )
    lot.quantity -= quantity if lot.quantity > 0 else -quantity
    lot.cost -= cost
    lot.fees -= entry_fees
    lot.dividends -= dividends
    return reduction


def _reduction(
    lot: _Lot,
    symbol: str,
    quantity: Decimal,
    *,
    at: datetime,
    value: Decimal,
    cost: Decimal,
    fees: Decimal,
    dividends: Decimal,
    is_open: bool = False,
) -> Reduction:
    gain = value - cost if lot.quantity > 0 else cost - value
    return Reduction(
        symbol=symbol,
        direction=Direction.LONG if lot.quantity > 0 else Direction.SHORT,
        quantity=quantity,
        opened_ts=lot.opened_ts,
        closed_ts=at,
        entry_price=cost / quantity,
        exit_price=value / quantity,
        fees=fees,
        dividends=dividends,
        pnl=gain - fees + dividends,
        is_open=is_open,
    )
