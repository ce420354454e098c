"""What the sender needs of any venue, paper or real, and what is asked of a venue's market."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from helios.breakers import breaker
from trading.enums import AssetClass
from trading.market.bars import BarTable
from trading.market.lots import Lot
from trading.market.trades import Trades
from trading.models import Order
from trading.models.columns import ZERO
from trading.venues.streaming import Depth

ANSWERS = ("ACCEPTED", "REJECTED", "FILLED", "CANCELLED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The venue's word on one order."""

    venue_order_id: str
    status: str  # one of ANSWERS
    reason: str = ""
    filled_quantity: Decimal = ZERO  # of an order that is open or cancelled, too

    def __post_init__(self) -> None:
        if self.status not in ANSWERS:
            raise ValueError(f"a venue's answer must be one of {', '.join(ANSWERS)}, was {self.status!r}")


class Venue(Protocol):
    """Submitting twice under one client order id must not make a second order while the first is open.

    `submit` raises a plain `Rejected` where the venue refused the order, and `CircuitOpen` only where nothing has left
    this machine. After any other error the order may have arrived: `helios.errors.Ambiguous` says so on purpose.
    """

    @property
    def grace_s(self) -> float:
        """For so long after it was sent an order that the venue does not know may still turn up there."""
        ...

    def submit(self, order: Order) -> Ack: ...

    def find(self, client_order_id: str) -> Ack | None:
        """The order among open orders and history; None when it is in neither, an error when that is not known."""
        ...

    def cancel(self, client_order_id: str) -> Ack | None:
        """Ask for the order's end and say how it stands then: ACCEPTED while it is still open, None when unknown."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A venue's client behind its circuit breaker: how a real venue is handed to the sender.

    While the breaker is open, or its shared state cannot be reached, `submit` raises `CircuitOpen` before anything
    has left this machine. Orders that only shrink a position, as `reduces` tells, go to the venue whatever
    the breaker says; so do cancellations and questions after an order, which add to no position.
    """

    venue: Venue
    breaker: str  # one that guards orders: "valr_api", "alpaca_api"
    reduces: Callable[[Order], bool]

    @property
    def grace_s(self) -> float:
        return self.venue.grace_s

    def submit(self, order: Order) -> Ack:
        return breaker(self.breaker).call(self.venue.submit, order, reducing=self.reduces(order))

    def find(self, client_order_id: str) -> Ack | None:
        return breaker(self.breaker).call(self.venue.find, client_order_id, reducing=True)

    def cancel(self, client_order_id: str) -> Ack | None:
        return breaker(self.breaker).call(self.venue.cancel, client_order_id, reducing=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What a venue says of one of its instruments; `code` is its own name, `symbol` the instrument's."""

    code: str
    symbol: str
    lot: Lot | None = None  # None: the usual one
    asset_class: AssetClass = AssetClass.CRYPTO


class MarketData(Protocol):
    """A venue as a source of bars and of trades, by request.

    Every call raises `Transient` where the venue does not answer properly, `CircuitOpen` while it is left alone, and
    `Rejected` where it refuses, each in one sentence.
    """

    @property
    def name(self) -> str:
        """What stands in front of its symbols, such as VALR."""
        ...

    def end_waits(self) -> None:
        """Have each call that waits for its turn, or to try again, raise `Transient` now; for any thread to say."""
        ...

    @property
    def settled_s(self) -> float:
        """What it does not speak of for so long had no trade."""
        ...

    def source(self, pair: Pair) -> str:
        """How stored bars of the pair name where they came from."""
        ...

    def symbol(self, name: str) -> str:
        """The instrument that a person names without the venue, such as BTC/ZAR."""
        ...

    def pairs(self, wanted: Sequence[str]) -> dict[str, Pair]:
        """Its pairs by their instruments: those of the wanted ones that it has, at least."""
        ...

    def skew_s(self) -> float | None:
        """How far its clock is ahead of ours, in seconds; None where it does not tell."""
        ...

    def depth(self, pair: Pair) -> Depth:
        """What is offered now: the best levels at least."""
        ...

    def bars(
        self, pair: Pair, timeframe: str, after: datetime, until: datetime
    ) -> Iterator[tuple[BarTable, datetime | None]]:
        """The bars that closed in (after, until], in tables by time; both are full minutes.

        With each table comes the newest close that the venue spoke of, with a trade or without: what is later may not
        have reached it yet. A bar without a trade is none.
        """
        ...

    def trades(self, pair: Pair, after: datetime, until: datetime) -> Iterator[Trades]:
        """The public trades of [after, until), those of bars that close in (after, until], in tables by time.

        All that the venue keeps of that time, each with the venue's id where it tells one, over its stream the same;
        times, figures and repetitions are as it told them, to be judged. The last trades before now may not have
        reached its answers yet.
        """
        ...

    def reaches(self, pair: Pair, timeframe: str, moment: datetime) -> bool:
        """Whether it keeps what was up to a moment: else its silence right behind that says nothing of trades."""
        ...
