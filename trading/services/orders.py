"""The outbox: intents become orders, a sender claims each one, and an unclear answer is asked about, never resent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from django.db import transaction
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


def record_intents(cycle: PipelineCycle, intents: Iterable[Intent], *, send: bool) -> list[Order]:
    """Write intents to the outbox in the caller's transaction; withheld ones are kept but never sent."""
    status = S.NEW if send else S.WITHHELD
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
            reason="" if send else "auto_trading is off",
        )
        for intent in intents
    )


def cancel_superseded(cycle: PipelineCycle) -> int:
    """Cancel what earlier bars left open: this cycle's targets already count on it not being there."""
    broker, cancelled = broker_for(cycle.book), 0
    for order in Order.objects.filter(book_id=cycle.book_id, status=S.ACCEPTED, bar_ts__lt=cycle.bar_ts):
        ack = broker.cancel(order.client_order_id)
        status = S.CANCELLED if ack is None else S(ack.status)
        cancelled += Order.objects.filter(pk=order.pk, status=S.ACCEPTED).update(
            status=status, reason="superseded by a later decision", updated_at=Now()
        )
    return cancelled


def flush(cycle: PipelineCycle) -> int:
    """Send every order of a cycle that waits in the outbox. The caller owns the cycle (see `pipeline.finish`).

    Orders found in SENDING belong to a sender that died: the venue is asked about them first.
    """
    book, sent = cycle.book, 0
    reconcile(cycle)
    for order in cycle.orders.filter(status=S.NEW).order_by("id"):
        claimed = Order.objects.filter(pk=order.pk, status=S.NEW).update(status=S.SENDING, sending_at=Now())
        if claimed == 1:
            sent += _send(broker_for(book), order)
    return sent


def _send(broker: Broker, order: Order) -> int:
    """Submit one claimed order and record the answer; 1 when the venue has it."""
    try:
        ack = broker.submit(order)
    except Ambiguous as error:
        _record(order, S.UNKNOWN, reason=str(error))
        return 0
    except HeliosError as error:
        _record(order, S.REJECTED, reason=str(error))
        return 0
    _record_ack(order, ack)
    return 1


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
    with transaction.atomic():
        Order.objects.filter(pk=order.pk, status__in=[S.SENDING, S.UNKNOWN]).update(
            status=status, reason=reason, venue_order_id=venue_order_id, updated_at=Now()
        )
