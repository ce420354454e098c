"""The outbox: intents become orders, a sender carries them out, and an unclear answer is asked about, never resent.

Cancels go the same way: a decision marks what it supersedes in its own transaction, and the sender asks the venue once
that is committed. Both can be repeated after a crash at any point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from billiard.exceptions import SoftTimeLimitExceeded
from django.db import connection, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce, Now
from loguru import logger
from psycopg2.extras import Json

from helios.breakers import CircuitOpen, UnknownBreaker
from helios.errors import Rejected
from trading.enums import Side, TradingState
from trading.models import Book, Order, PipelineCycle, Position
from trading.models.columns import ZERO
from trading.orders import reconcile
from trading.venues.base import Venue
from trading.venues.registry import venue_for

S = Order.Status
Refusal = Callable[[Book], str]  # why an order of this book must not leave any more; empty when it may
_CLAIM = """
    WITH book AS (
        SELECT id FROM portfolio_state
        WHERE id = %s AND mode = %s AND state = %s AND flag_overrides = %s FOR NO KEY UPDATE
    )
    UPDATE orders o SET status = 'SENDING', reason = '', sending_at = statement_timestamp(),
    updated_at = statement_timestamp() FROM book
    WHERE o.id = %s AND o.status = 'NEW' AND o.book_id = book.id
    AND EXISTS (SELECT FROM pipeline_cycles c WHERE c.id = o.cycle_id AND c.status = 'RUNNING') RETURNING o.id
"""


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
        reason=reconcile.SUPERSEDED,
        updated_at=Now(),
    )


# --- the sender ---


def flush(cycle: PipelineCycle, *, refusal: Refusal = lambda _book: "") -> int:
    """Carry out a cycle's cancels, then its orders; returns how many of both are not over yet.

    The caller owns the cycle. First the venue is asked about orders of unknown fate, and to
    cancel what the decision superseded. A new order waits while a superseded one of its symbol is open, and is withheld
    when that one filled after all, or a part of it: this decision did not count on it, the next bar's will. Of a cycle
    that has ended nothing is sent any more: the venue is only asked.
    """
    own = [order for order in cycle.orders.all() if order.status in (S.NEW, S.SENDING, S.UNKNOWN)]
    rows = sorted([*own, *cycle.superseded.all()], key=lambda order: order.pk)
    if not rows:
        return 0
    venue = venue_for(cycle.book)
    superseded: dict[str, set[str]] = defaultdict(set)
    for order in rows:
        if order.status != S.NEW and order.status in Order.OPEN:
            reconcile.ask(venue, order)
        if order.superseded_by_id == cycle.pk:
            superseded[order.symbol].add(S.FILLED if order.filled_quantity else order.status)
    for order in rows:
        if order.status == S.NEW and _claim(order, cycle, refusal, superseded[order.symbol]):
            _send(venue, order)
    return unsettled(cycle).count()


def unsettled(cycle: PipelineCycle) -> QuerySet[Order]:
    """What a cycle has still to send, to cancel or to ask about."""
    own = Q(cycle=cycle, status__in=[S.NEW, S.SENDING, S.UNKNOWN])
    return Order.objects.filter(own | Q(superseded_by=cycle, status__in=Order.OPEN))


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
    return reconcile.withhold(cycle.orders.filter(status=S.NEW), reconcile.GIVEN_UP)


def reduces(order: Order) -> bool:
    """Whether an order only shrinks a position, with all that is on its way in the same direction."""
    others = Order.objects.filter(
        book_id=order.book_id, symbol=order.symbol, side=order.side, status__in=[S.SENDING, S.UNKNOWN, S.ACCEPTED]
    ).exclude(pk=order.pk)
    leaving = others.aggregate(sum=Sum(F("quantity") - F("filled_quantity")))["sum"] or ZERO
    position = Position.objects.filter(book_id=order.book_id, symbol=order.symbol).first()
    held = ZERO if position is None else position.quantity
    return bool(order.quantity + leaving <= (held if order.side == Side.SELL else -held))


def _claim(order: Order, cycle: PipelineCycle, refusal: Refusal, superseded: set[str]) -> bool:
    """Take the right to send one order, or withhold it for good; False too where it has to wait.

    Every claim obeys a halt that was committed before it, and the end of a cycle that was given up: it holds where the
    book still is as it was when nothing refused the order. Else that is decided again while the book's row is locked.
    """

    def refused(book: Book) -> str:
        filled = f"an earlier order in {order.symbol} filled although this decision superseded it"
        return _refused(book, cycle, order) or refusal(book) or (filled if S.FILLED in superseded else "")

    book, waits = cycle.book, bool(superseded & set(Order.OPEN))
    if not waits and book.state == TradingState.ACTIVE and not refused(book) and _claimed(order, book):
        return True
    with transaction.atomic():
        cycle.book = Book.objects.select_for_update(no_key=True).get(pk=order.book_id)
        reason = refused(cycle.book)
        if waits and not reason:
            return False
        if not reason and _claimed(order, cycle.book):
            return True
        reconcile.withhold(Order.objects.filter(pk=order.pk, status=S.NEW), reason or reconcile.GIVEN_UP)
    return False


def _claimed(order: Order, book: Book) -> bool:
    """Claim an order that waits while its cycle runs and its book is as it was read."""
    seen = [book.pk, book.mode, book.state, Json(book.flag_overrides)]
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [*seen, order.pk])
        return cursor.fetchone() is not None


def _refused(book: Book, cycle: PipelineCycle, order: Order) -> str:
    """Why the book as it is now lets an order not leave; empty when it does."""
    if book.mode != cycle.mode:
        return f"the book is in {book.mode} mode now"
    if book.state == TradingState.HALTED:
        return "the book is halted"
    if book.state == TradingState.REDUCING and not reduces(order):
        return "the book may only reduce its positions"
    return ""


def _send(venue: Venue, order: Order) -> None:
    """Submit one claimed order and record the answer; whatever is not clear may have arrived."""
    claimed = Order.objects.filter(pk=order.pk, status__in=[S.SENDING, S.UNKNOWN])
    try:
        ack = venue.submit(order)
    except (CircuitOpen, UnknownBreaker) as error:
        reconcile.never_arrived(order, claimed, str(error))
    except Exception as error:
        # A defect in a venue's client says nothing about the order's fate. Nor do the subclasses of Rejected, our own
        # code's complaints: the plain one is the venue's refusal.
        status = S.REJECTED if type(error) is Rejected else S.UNKNOWN
        claimed.update(status=status, reason=str(error) or repr(error), updated_at=Now())
        logger.bind(order=order.client_order_id, status=str(status), error=repr(error)).warning("order.not_accepted")
        if isinstance(error, SoftTimeLimitExceeded):
            raise  # the sender itself is to stop
    else:
        reconcile.record(order, ack)
