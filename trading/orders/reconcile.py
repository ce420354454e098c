"""What is known of an order once it may have left: the venue is asked, and its word recorded, never presumed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.db.models import Case, DateTimeField, Exists, F, OuterRef, QuerySet, TextField, Value, When
from django.db.models.functions import Coalesce, Concat, Now
from loguru import logger

from helios import events
from helios.db import statements
from helios.errors import Rejected, error_text
from trading.books.read import locked
from trading.models import Order, PipelineCycle
from trading.orders.order_claims import GOOD_FOR
from trading.venues.base import Ack, Venue

S = Order.Status
SUPERSEDED = "superseded by a later decision"
GIVEN_UP = "the cycle was given up"
MISSING = "the venue no longer lists an order that it accepted"
RUNS = Exists(PipelineCycle.objects.filter(pk=OuterRef("cycle"), status=PipelineCycle.Status.RUNNING))
# A venue's word takes no fill back, nor fills more than was ordered. One that is lost is asked for again.
_RECORD = f"""
    UPDATE orders SET status = %s, reason = %s, venue_order_id = %s, updated_at = statement_timestamp(),
    filled_quantity = least(quantity, greatest(filled_quantity, %s)) WHERE id = %s AND status = ANY(%s)
    RETURNING {statements.REPEATABLE}
"""  # noqa: S608 - no input


def ask(venue: Venue, order: Order) -> None:
    """Learn the fate of one order, and end it where it is superseded; the order carries its new status.

    Without an answer, or before its grace is over, it stays as unclear as it is.
    """
    Order.objects.filter(pk=order.pk, status=S.SENDING).update(status=S.UNKNOWN, updated_at=Now())  # its sender died
    asked: Any = logger.bind(order=order.client_order_id, superseded=order.superseded_by_id is not None)
    try:
        ack = venue.find(order.client_order_id) if order.superseded_by_id is None else _cancelled(venue, order)
    except SoftTimeLimitExceeded:
        raise  # the sender itself is to stop
    except Exception as error:  # noqa: BLE001 - no answer, for whatever reason, is no evidence
        asked.bind(error=error_text(error)).warning("order.unanswered")
        return
    if ack is not None:
        record(order, ack)
    else:
        _absent(order, venue.grace_s)
    order.refresh_from_db(fields=["status", "filled_quantity"])
    asked.bind(found=ack is not None, status=order.status).warning("order.reconciled")


def _absent(order: Order, grace_s: float) -> None:
    """The venue does not know the order: it never arrived where its grace is over, unless the venue has accepted it.

    That one's fate is unknown again, and its grace begins with this answer.
    """
    missing = Order.objects.filter(pk=order.pk, status=S.ACCEPTED)
    with transaction.atomic():
        if missing.update(status=S.UNKNOWN, reason=MISSING, sending_at=Now(), updated_at=Now()):
            events.record(
                kind="order.missing",
                severity="critical",
                source="trading.orders",
                subject=order.client_order_id,
                data={"venue_order_id": order.venue_order_id, "reason": MISSING},
            )
            return
    left = F("sending_at") + GOOD_FOR
    sent = Order.objects.annotate(sent=Coalesce(left, "created_at", output_field=DateTimeField()))
    overdue = sent.filter(pk=order.pk, status=S.UNKNOWN, sent__lte=Now() - timedelta(seconds=grace_s))
    never_arrived(order.book_id, overdue, "")


def _cancelled(venue: Venue, order: Order) -> Ack | None:
    """Ask for a cancel, and after the order where that was refused or the venue has none to cancel."""
    try:
        ack = venue.cancel(order.client_order_id)
    except Rejected as error:
        logger.bind(order=order.client_order_id, error=error_text(error)).warning("order.not_cancelled")
        ack = None
    return venue.find(order.client_order_id) if ack is None else ack


def never_arrived(book_id: int, unclear: QuerySet[Order], reason: str) -> None:
    """What the venue surely does not have waits again, or ends: a later decision took its place, its cycle is over."""
    superseded = When(superseded_by__isnull=False, then=Value(S.CANCELLED))
    with transaction.atomic():
        locked(book_id)  # as the end of a cycle that is given up does
        keys = list(unclear.values_list("pk", flat=True))
        unclear.update(
            status=Case(superseded, default=Value(S.NEW)),
            reason=Case(When(superseded_by__isnull=False, then=Value(SUPERSEDED)), default=Value(reason)),
            sending_at=None,
            updated_at=Now(),
        )
        withhold(Order.objects.filter(~RUNS, pk__in=keys, status=S.NEW), GIVEN_UP)


def record(order: Order, ack: Ack) -> None:
    """The venue's word on an order that is not over here."""
    reason = ack.reason or (SUPERSEDED if order.superseded_by_id and ack.status == S.CANCELLED else "")
    values: list[Any] = [S(ack.status), reason, ack.venue_order_id, ack.filled_quantity, order.pk, list(Order.OPEN)]
    statements.fetch(_RECORD, values)


def withhold(waiting: QuerySet[Order], reason: str) -> int:
    """End orders unsent, with what kept them waiting until then."""
    text = TextField()
    waited = Concat(Value(f"{reason}; until then: ", text), F("reason"), output_field=text)
    told = Case(When(reason="", then=Value(reason, text)), default=waited, output_field=text)
    return waiting.update(status=S.WITHHELD, reason=told, updated_at=Now())
