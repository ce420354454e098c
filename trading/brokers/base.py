"""What the sender needs of any venue, paper or real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from helios.breakers import breaker
from trading.models import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The venue's word on one order."""

    venue_order_id: str
    status: str  # ACCEPTED, REJECTED, FILLED or CANCELLED
    reason: str = ""


class Broker(Protocol):
    """Submitting twice under one client order id must not make a second order.

    `submit` raises `helios.errors.Ambiguous` when it cannot tell whether the order arrived.
    """

    def submit(self, order: Order) -> Ack: ...

    def find(self, client_order_id: str) -> Ack | None: ...

    def cancel(self, client_order_id: str) -> Ack | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A venue's client behind its circuit breaker: how a real venue is handed to the sender.

    While the breaker is open, or its shared state cannot be reached, `submit` raises `CircuitOpen` before anything
    has left this machine. Orders that only shrink a position, as `reduces` tells, go to the venue whatever
    the breaker says; so do cancellations and questions after an order, which add to no position.
    """

    venue: Broker
    breaker: str  # one that guards orders: "valr_api", "alpaca_api"
    reduces: Callable[[Order], bool]

    def submit(self, order: Order) -> Ack:
        return breaker(self.breaker).call(self.venue.submit, order, reducing=self.reduces(order))

    def find(self, client_order_id: str) -> Ack | None:
        return breaker(self.breaker).call(self.venue.find, client_order_id, reducing=True)

    def cancel(self, client_order_id: str) -> Ack | None:
        return breaker(self.breaker).call(self.venue.cancel, client_order_id, reducing=True)
