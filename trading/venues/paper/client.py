"""The paper venue: it keeps its own table of orders, as a real venue would, and answers by client order id."""

from __future__ import annotations

from helios.db import statements
from trading.models import Order, PaperOrder
from trading.venues.base import Ack

# An order that is there already is written as it is, so that it is returned.
# An order whose claim is on the disk and that is not is asked about, and not found.
_SUBMIT = f"""
    INSERT INTO paper_orders (client_order_id, book_id, symbol, side, quantity, bar_ts, status, accepted_at)
    VALUES (%s, %s, %s, %s, %s, %s, 'OPEN', statement_timestamp())
    ON CONFLICT (client_order_id) DO UPDATE SET status = paper_orders.status
    RETURNING id, status, {statements.REPEATABLE}
"""  # noqa: S608 - no input
_STATUS = {"OPEN": "ACCEPTED", "FILLED": "FILLED", "CANCELLED": "CANCELLED"}


class PaperVenue:
    """Accepts orders into `paper_orders`; the next bar's settlement fills them."""

    grace_s = 0.0  # an order lands with the answer or, its connection lost, never

    def submit(self, order: Order) -> Ack:
        """Accept an order once; the same client order id again returns the order that is already there."""
        placed = [order.client_order_id, order.book_id, order.symbol, order.side, order.quantity, order.bar_ts]
        ((number, status, _),) = statements.fetch(_SUBMIT, placed)
        return _ack(number, status)

    def find(self, client_order_id: str) -> Ack | None:
        """The order of this id, or None when the venue never saw it."""
        placed = PaperOrder.objects.filter(client_order_id=client_order_id).first()
        return None if placed is None else _ack(placed.pk, placed.status)

    def cancel(self, client_order_id: str) -> Ack | None:
        """Cancel an open order; one that is filled or cancelled already stays as it is."""
        PaperOrder.objects.filter(client_order_id=client_order_id, status="OPEN").update(status="CANCELLED")
        return self.find(client_order_id)


def _ack(number: int, status: str) -> Ack:
    return Ack(venue_order_id=f"paper-{number}", status=_STATUS[status])
