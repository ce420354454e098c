"""What the sender needs of any venue, paper or real."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
