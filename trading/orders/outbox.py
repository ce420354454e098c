"""The outbox: intents become orders, a sender carries them out, and an unclear answer is asked about, never resent.

Cancels go the same way: a decision marks what it supersedes in its own transaction, and the sender asks the venue once
that is committed. Both can be repeated after a crash at any point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from billiard.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Sum, TextField, Value, When
from django.db.models.functions import Coalesce, Concat, Greatest, Least, Now
from loguru import logger

from helios import events
from helios.breakers import CircuitOpen, UnknownBreaker
from helios.errors import Rejected
from trading.models import Book, Order, PipelineCycle, Position
from trading.models.columns import ZERO
from trading.venues.base import Ack, Broker
from trading.venues.paper.client import PaperVenue

S = Order.Status
SUPERSEDED = "superseded by a later decision"
GIVEN_UP = "the cycle was given up"
MISSING = "the venue no longer lists an order that it accepted"
_RUNS = Exists(PipelineCycle.objects.filter(pk=OuterRef("cycle"), status=PipelineCycle.Status.RUNNING))
Refusal = Callable[[Book], str]  # why an order of this book must not leave any more; empty when it may


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


# --- what a decision writes, in its own transaction ---


def orders_of(cycle: PipelineCycle, intents: Iterable[Intent], *, withhold: str = "") -> list[Order]:
    """The outbox's entries for intents, to be written with the decision; what is withheld is never sent."""
    status = S.WITHHELD if withhold else S.NEW
    return [
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
    ]


def supersede(cycle: PipelineCycle) -> int:
    """Mark what earlier bars left open: this cycle's targets count on it not being there.

    What was never sent ends here; the rest ends when the venue says so, which `flush` asks it to.
    """
    return Order.objects.filter(book_id=cycle.book_id, status__in=Order.OPEN, bar_ts__lt=cycle.bar_ts).update(
        superseded_by=cycle,
        status=Case(When(status=S.NEW, then=Value(S.CANCELLED)), default=F("status")),
        reason=SUPERSEDED,
        updated_at=Now(),
    )


# --- the sender ---


def flush(cycle: PipelineCycle, *, refusal: Refusal = lambda _book: "") -> int:
    """Carry out a cycle's cancels, then its orders; returns how many of both are not over yet.

    The caller owns the cycle (see `pipeline.finish`). First the venue is asked about orders of unknown fate, and to
    cancel what the decision superseded. A new order waits while a superseded one of its symbol is open, and is withheld
    when that one filled after all, or a part of it: this decision did not count on it, the next bar's will. Of a cycle
    that has ended nothing is sent any more: the venue is only asked.
    """
    own = [order for order in cycle.orders.all() if order.status in (S.NEW, S.SENDING, S.UNKNOWN)]
    rows = sorted([*own, *cycle.superseded.all()], key=lambda order: order.pk)
    if not rows:
        return 0
    broker = broker_for(cycle.book)
    superseded: dict[str, set[str]] = defaultdict(set)
    for order in rows:
        if order.status != S.NEW and order.status in Order.OPEN:
            _ask(broker, order)
        if order.superseded_by_id == cycle.pk:
            superseded[order.symbol].add(S.FILLED if order.filled_quantity else order.status)
    for order in rows:
        if order.status == S.NEW and _claim(order, cycle, refusal, superseded[order.symbol]):
            _send(broker, order)
    return unsettled(cycle).count()


def unsettled(cycle: PipelineCycle) -> QuerySet[Order]:
    """What a cycle has still to send, to cancel or to ask about."""
    return Order.objects.filter(_unsettled(cycle))


def _unsettled(cycle: PipelineCycle) -> Q:
    own = Q(cycle=cycle, status__in=[S.NEW, S.SENDING, S.UNKNOWN])
    return own | Q(superseded_by=cycle, status__in=Order.OPEN)


def left_behind() -> QuerySet[PipelineCycle]:
    """Ended cycles that have something to cancel or to ask about, of books in which no cycle runs.

    Where one runs, its decision supersedes what is open, and its sender asks.
    """
    running = PipelineCycle.objects.filter(book=OuterRef("book"), status=PipelineCycle.Status.RUNNING)
    unclear = Q(status__in=[S.NEW, S.SENDING, S.UNKNOWN]) | Q(superseded_by__isnull=False, status=S.ACCEPTED)
    responsible = Coalesce("superseded_by", "cycle")
    open_orders = Order.objects.filter(unclear, ~Exists(running)).annotate(responsible=responsible)
    return PipelineCycle.objects.filter(pk__in=open_orders.values("responsible"))


def abandon(cycle: PipelineCycle) -> int:
    """Withhold for good what a cycle has not sent; what may have been sent keeps its unknown fate.

    Runs in the transaction that ends the cycle, and holds the book's row until then: no claim comes in between.
    """
    Book.objects.select_for_update(no_key=True).get(pk=cycle.book_id)
    return _withhold(cycle.orders.filter(status=S.NEW), GIVEN_UP)


def reduces(order: Order) -> bool:
    """Whether an order only shrinks a position, with all that is on its way in the same direction."""
    others = Order.objects.filter(
        book_id=order.book_id, symbol=order.symbol, side=order.side, status__in=[S.SENDING, S.UNKNOWN, S.ACCEPTED]
    ).exclude(pk=order.pk)
    leaving = others.aggregate(sum=Sum(F("quantity") - F("filled_quantity")))["sum"] or ZERO
    position = Position.objects.filter(book_id=order.book_id, symbol=order.symbol).first()
    held = ZERO if position is None else position.quantity
    return bool(order.quantity + leaving <= (held if order.side == "SELL" else -held))


def _claim(order: Order, cycle: PipelineCycle, refusal: Refusal, superseded: set[str]) -> bool:
    """Take the right to send one order, or withhold it for good; False too where it has to wait.

    The book's row is locked while that is decided, so every claim obeys a halt that was committed before it, and the
    end of a cycle that was given up.
    """
    with transaction.atomic():
        book = Book.objects.select_for_update(no_key=True).get(pk=order.book_id)
        waiting = Order.objects.filter(pk=order.pk, status=S.NEW)
        reason = _refused(book, cycle, order) or refusal(book)
        if not reason and S.FILLED in superseded:
            reason = f"an earlier order in {order.symbol} filled although this decision superseded it"
        if reason:
            _withhold(waiting, reason)
            return False
        if superseded & set(Order.OPEN):
            return False
        claimed = waiting.filter(_RUNS).update(status=S.SENDING, reason="", sending_at=Now(), updated_at=Now())
        if not claimed:
            _withhold(waiting, GIVEN_UP)
        return bool(claimed)


def _refused(book: Book, cycle: PipelineCycle, order: Order) -> str:
    """Why the book as it is now lets an order not leave; empty when it does."""
    if book.mode != cycle.mode:
        return f"the book is in {book.mode} mode now"
    if book.state == Book.State.HALTED:
        return "the book is halted"
    if book.state == Book.State.REDUCING and not reduces(order):
        return "the book may only reduce its positions"
    return ""


def _withhold(waiting: QuerySet[Order], reason: str) -> int:
    """End orders unsent, with what kept them waiting until then."""
    text = TextField()
    waited = Concat(Value(f"{reason}; until then: ", text), F("reason"), output_field=text)
    told = Case(When(reason="", then=Value(reason, text)), default=waited, output_field=text)
    return waiting.update(status=S.WITHHELD, reason=told, updated_at=Now())


def _send(broker: Broker, order: Order) -> None:
    """Submit one claimed order and record the answer; whatever is not clear may have arrived."""
    claimed = Order.objects.filter(pk=order.pk, status__in=[S.SENDING, S.UNKNOWN])
    try:
        ack = broker.submit(order)
    except (CircuitOpen, UnknownBreaker) as error:
        _never_arrived(order, claimed, str(error))
    except Exception as error:
        # A defect in a venue's client says nothing about the order's fate. Nor do the subclasses of Rejected, our own
        # code's complaints: the plain one is the venue's refusal.
        status = S.REJECTED if type(error) is Rejected else S.UNKNOWN
        claimed.update(status=status, reason=str(error) or repr(error), updated_at=Now())
        logger.bind(order=order.client_order_id, status=str(status), error=repr(error)).warning("order.not_accepted")
        if isinstance(error, SoftTimeLimitExceeded):
            raise  # the sender itself is to stop
    else:
        _record(order, ack)


# --- what the venue knows ---


def _ask(broker: Broker, order: Order) -> None:
    """Learn the fate of one order, and end it where it is superseded; the order carries its new status.

    Without an answer, or before its grace is over, it stays as unclear as it is.
    """
    Order.objects.filter(pk=order.pk, status=S.SENDING).update(status=S.UNKNOWN, updated_at=Now())  # its sender died
    asked: Any = logger.bind(order=order.client_order_id, superseded=order.superseded_by_id is not None)
    try:
        ack = broker.find(order.client_order_id) if order.superseded_by_id is None else _cancelled(broker, order)
    except SoftTimeLimitExceeded:
        raise  # the sender itself is to stop
    except Exception as error:  # noqa: BLE001 - no answer, for whatever reason, is no evidence
        asked.bind(error=repr(error)).warning("order.unanswered")
        return
    if ack is not None:
        _record(order, ack)
    else:
        _absent(order, broker.grace_s)
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
    sent = Order.objects.annotate(sent=Coalesce("sending_at", "created_at"))
    overdue = sent.filter(pk=order.pk, status=S.UNKNOWN, sent__lte=Now() - timedelta(seconds=grace_s))
    _never_arrived(order, overdue, "")


def _cancelled(broker: Broker, order: Order) -> Ack | None:
    """Ask for a cancel, and after the order where that was refused or the venue has none to cancel."""
    try:
        ack = broker.cancel(order.client_order_id)
    except Rejected:
        ack = None
    return broker.find(order.client_order_id) if ack is None else ack


def _never_arrived(order: Order, unclear: QuerySet[Order], reason: str) -> None:
    """What the venue surely does not have waits again, or ends: a later decision took its place, its cycle is over."""
    superseded = When(superseded_by__isnull=False, then=Value(S.CANCELLED))
    with transaction.atomic():
        Book.objects.select_for_update(no_key=True).get(pk=order.book_id)  # as the end of a cycle that is given up does
        unclear.update(
            status=Case(superseded, default=Value(S.NEW)),
            reason=Case(When(superseded_by__isnull=False, then=Value(SUPERSEDED)), default=Value(reason)),
            sending_at=None,
            updated_at=Now(),
        )
        _withhold(Order.objects.filter(~_RUNS, pk=order.pk, status=S.NEW), GIVEN_UP)


def _record(order: Order, ack: Ack) -> None:
    """The venue's word on an order that is not over here."""
    reason = ack.reason or (SUPERSEDED if order.superseded_by_id and ack.status == S.CANCELLED else "")
    Order.objects.filter(pk=order.pk, status__in=Order.OPEN).update(
        status=S(ack.status),
        reason=reason,
        venue_order_id=ack.venue_order_id,
        # A venue's word takes no fill back, nor fills more than was ordered.
        filled_quantity=Least("quantity", Greatest("filled_quantity", ack.filled_quantity)),
        updated_at=Now(),
    )
