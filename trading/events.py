"""What the event bus tells of trading: the market's bars, forecasts, decisions about risk, orders and fills.

Amounts are exact decimals, written as text; statistics are numbers, and null where there is no value.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal

from helios.events.bus import Event


class MarketEvent(Event):
    """A bar has closed at a venue that is streamed, and is stored."""

    topic: ClassVar[str] = "market"
    symbol: str
    timeframe: str
    bar_ts: datetime  # its close in UTC
    open: float
    high: float
    low: float
    close: float
    volume: float


class TickerEvent(Event):
    """The state of a market that is streamed, as its venue sums it up, now and then; null is what it does not tell.

    `high`, `low`, `volume` and `change`, in percent, are of the last 24 hours.
    """

    topic: ClassVar[str] = "ticker"
    symbol: str
    at: datetime
    bid: float | None
    ask: float | None
    last: float | None
    mark: float | None
    high: float | None
    low: float | None
    volume: float
    change: float


class _OfCycle(Event):
    """What one cycle of a book has decided or done."""

    book: str
    mode: str
    cycle: int
    timeframe: str
    bar_ts: datetime


class SignalEvent(_OfCycle):
    """A forecast of one symbol; the probabilities are null where nothing is known of it."""

    topic: ClassVar[str] = "signal"
    symbol: str
    signal: str
    p_sell: float | None
    p_hold: float | None
    p_buy: float | None
    horizon_bars: int


class RiskEvent(_OfCycle):
    """What the risk tier allows: the largest weight of each symbol, the leverage, and what it denied and why."""

    topic: ClassVar[str] = "risk"
    state: str
    leverage: float | None
    max_weight: dict[str, float | None]
    denials: list[dict[str, object]]


class TradeEvent(_OfCycle):
    """An order as its cycle has left it, or a fill; `price` and `fee` are a fill's."""

    topic: ClassVar[str] = "trade"
    kind: Literal["order", "fill"]
    client_order_id: str
    symbol: str
    side: str
    quantity: Decimal
    status: str = ""
    price: Decimal | None = None
    fee: Decimal | None = None


KINDS = (MarketEvent, TickerEvent, SignalEvent, RiskEvent, TradeEvent)
