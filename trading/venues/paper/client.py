"""The paper venue: it keeps its own table of orders, as a real venue would, and answers by client order id."""

from __future__ import annotations

from trading.models import Order, PaperOrder
from trading.venues.base import Ack

_STATUS = {"OPEN": "ACCEPTED", "FILLED": "FILLED", "CANCELLED": "CANCELLED"}


class PaperVenue:
    """Accepts orders into `paper_orders`; the next bar's settlement fills them."""

    grace_s = 0.0  # an order lands with the answer or, its connection lost, never

    def submit(self, order: Order) -> Ack:
        """Accept an order once; the same client order id again returns the order that is already there."""
        placed, _ = PaperOrder.objects.get_or_create(
            client_order_id=order.client_order_id,
            defaults={
                "book_id": order.book_id,
                "symbol": order.symbol,
                "side": order.side,
                "quantity": order.quantity,
                "bar_ts": order.bar_ts,
            },
        )
        return _ack(placed)

    def find(self, client_order_id: str) -> Ack | None:
        """The order of this id, or None when the venue never saw it."""
        placed = PaperOrder.objects.filter(client_order_id=client_order_id).first()
        return None if placed is None else _ack(placed)

    def cancel(self, client_order_id: str) -> Ack | None:
        """Cancel an open order; one that is filled or cancelled already stays as it is."""
        PaperOrder.objects.filter(client_order_id=client_order_id, status="OPEN").update(status="CANCELLED")
        return self.find(client_order_id)


def _ack(placed: PaperOrder) -> Ack:
    return Ack(venue_order_id=f"paper-{placed.pk}", status=_STATUS[placed.status])
