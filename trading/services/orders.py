"""The outbox: intents become orders, a sender claims each one, and an unclear answer is asked about, never resent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from django.db.models.functions import Now
from loguru import logger

from helios.errors import Ambiguous, HeliosError, Rejected
from trading.brokers.base import Ack, Broker
from trading.brokers.paper_venue import PaperVenue
from trading.models import Book, Order, PipelineCycle

S = Order.Status


class Intent(Protocol):
    """The fields of an order that the execute stage decided on."""

    @property
    def client_order_id(self) -> str: ...
    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> str: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def reference_price(self) -> Decimal: ...
    @property
    def bar_ts(self) -> datetime: ...


def broker_for(book: Book) -> Broker:
    """The venue of a book; `Rejected` for a live book, since no live venue is configured."""
    if book.mode in {Book.Mode.PAPER, Book.Mode.REPLAY}:
        return PaperVenue()
    raise Rejected(f"book {book.name!r} is live, and this version has only the paper broker")


def record_intents(cycle: PipelineCycle, intents: Iterable[Intent], *, withhold: str = "") -> list[Order]:
    """Write intents to the outbox in the caller's transaction; with a reason to withhold they are never sent."""
    status = S.WITHHELD if withhold else S.NEW
    return Order.objects.bulk_create(
        Order(
            book_id=cycle.book_id,
            cycle=cycle,
            client_order_id=intent.client_order_id,
            symbol=intent.symbol,
            side=str(intent.side),
            quantity=intent.quantity,
            reference_price=intent.reference_price,
            bar_ts=intent.bar_ts,
            status=status,
            reason=withhold,
        )
        for intent in intents
    )


def cancel_superseded(cycle: PipelineCycle) -> int:
    """Close what earlier bars left open: this cycle's targets already count on it not being there.

    What was never sent is cancelled; of what may have been sent the venue is asked first.
    """
    broker, closed = broker_for(cycle.book), 0
    left = Order.objects.filter(book_id=cycle.book_id, status__in=Order.OPEN, bar_ts__lt=cycle.bar_ts)
    for order in left:
        ack = None if order.status == S.NEW else broker.cancel(order.client_order_id)
        closed += Order.objects.filter(pk=order.pk, status=order.status).update(
            status=S.CANCELLED if ack is None else S(ack.status),
            reason="superseded by a later decision",
            updated_at=Now(),
        )
    return closed


def flush(cycle: PipelineCycle, *, withhold: str = "") -> int:
    """Send every order of a cycle that waits in the outbox; returns how many have no known fate.

    The caller owns the cycle (see `pipeline.finish`). Orders found in SENDING belong to a sender that died: the venue
    is asked about them first. With a reason to withhold, what has not left yet stays here.
    """
    reconcile(cycle)
    if withhold:
        abandon(cycle, withhold)
    broker = broker_for(cycle.book)
    for order in cycle.orders.filter(status=S.NEW).order_by("id"):
        claimed = Order.objects.filter(pk=order.pk, status=S.NEW).update(status=S.SENDING, sending_at=Now())
        if claimed == 1:
            _send(broker, order)
    return cycle.orders.filter(status__in=[S.SENDING, S.UNKNOWN]).count()


def abandon(cycle: PipelineCycle, reason: str) -> int:
    """Withhold for good what a cycle has not sent."""
    return cycle.orders.filter(status=S.NEW).update(status=S.WITHHELD, reason=reason, updated_at=Now())


def _send(broker: Broker, order: Order) -> None:
    """Submit one claimed order and record the answer."""
    try:
        ack = broker.submit(order)
    except Ambiguous as error:
        _record(order, S.UNKNOWN, reason=str(error))
    except HeliosError as error:
        _record(order, S.REJECTED, reason=str(error))
    else:
        _record_ack(order, ack)


def reconcile(cycle: PipelineCycle) -> int:
    """Ask the venue about orders whose sending has no known end; the count of those that are clear now.

    An order the venue does not know was never accepted, so it goes back to NEW and may be sent.
    """
    cleared = 0
    for order in cycle.orders.filter(status__in=[S.SENDING, S.UNKNOWN]):
        Order.objects.filter(pk=order.pk, status=S.SENDING).update(status=S.UNKNOWN)
        ack = broker_for(cycle.book).find(order.client_order_id)
        if ack is None:
            cleared += Order.objects.filter(pk=order.pk, status=S.UNKNOWN).update(status=S.NEW, sending_at=None)
        else:
            _record_ack(order, ack)
            cleared += 1
        logger.bind(order=order.client_order_id, found=ack is not None).warning("order.reconciled")
    return cleared


def _record_ack(order: Order, ack: Ack) -> None:
    _record(order, S(ack.status), reason=ack.reason, venue_order_id=ack.venue_order_id)


def _record(order: Order, status: S, *, reason: str = "", venue_order_id: str = "") -> None:
    Order.objects.filter(pk=order.pk, status__in=[S.SENDING, S.UNKNOWN]).update(
        status=status, reason=reason, venue_order_id=venue_order_id, updated_at=Now()
    )
