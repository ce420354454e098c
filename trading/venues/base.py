"""What the sender needs of any venue, paper or real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from helios.breakers import breaker
from trading.models import Order
from trading.models.columns import ZERO

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
