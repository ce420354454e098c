"""The outbox: intents become orders, a sender carries them out, and an unclear answer is asked about, never resent.

Cancels go the same way: a decision marks what it supersedes in its own transaction, and the sender asks the venue once
that is committed. Both can be repeated after a crash at any point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from billiard.exceptions import SoftTimeLimitExceeded
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from loguru import logger

from helios.breakers import CircuitOpen, UnknownBreaker
from helios.db import statements
from helios.errors import Rejected, error_text
from trading.books.read import locked
from trading.enums import Side, TradingState
from trading.market.calendars import LONGEST_CLOSURE
from trading.models import Book, Order, PipelineCycle, Position
from trading.models.columns import ZERO
from trading.orders import reconcile
from trading.orders.order_claims import ALWAYS, Permission, claim, holds
from trading.venues.base import Venue
from trading.venues.registry import venue_for

S = Order.Status
_SUPERSEDE = """
    UPDATE orders SET superseded_by_id = %s, status = CASE status WHEN 'NEW' THEN 'CANCELLED' ELSE status END,
    reason = %s, updated_at = statement_timestamp()
    WHERE book_id = %s AND status = ANY(%s) AND bar_ts < %s AND NOT symbol = ANY(%s)
"""
_WAITING = """
    SELECT symbol, sum((quantity - filled_quantity) * CASE side WHEN 'BUY' THEN 1 ELSE -1 END) FROM orders
    WHERE book_id = %s AND status = ANY(%s::text[]) AND superseded_by_id IS NULL AND symbol = ANY(%s::text[])
    AND bar_ts >= %s AND bar_ts < %s GROUP BY symbol
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


def waiting(book: Book, symbols: Sequence[str], bar_ts: datetime) -> dict[str, Decimal]:
    """What orders of the week before `bar_ts` have still to buy of these symbols, or to sell (negative)."""
    since = bar_ts - LONGEST_CLOSURE
    return dict(statements.fetch(_WAITING, [book.pk, list(Order.OPEN), list(symbols), since, bar_ts]))


def supersede(cycle: PipelineCycle, *, standing: Collection[str] = ()) -> int:
    """Mark what earlier bars left open, but for `standing` symbols: this cycle's targets count on it not being there.

    What was never sent ends here; the rest ends when the venue says so, which `flush` asks it to.
    """
    left: list[Any] = [cycle.book_id, list(Order.OPEN), cycle.bar_ts, list(standing)]
    with connection.cursor() as cursor:
        cursor.execute(_SUPERSEDE, [cycle.pk, reconcile.SUPERSEDED, *left])
        return int(cursor.rowcount)


# --- the sender ---


def flush(cycle: PipelineCycle, *, permission: Permission = ALWAYS) -> int:
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
    _send_all(venue, [order for order in rows if order.status == S.NEW], cycle, permission, superseded)
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
    locked(cycle.book_id)
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


def _send_all(
    venue: Venue,
    orders: Sequence[Order],
    cycle: PipelineCycle,
    permission: Permission,
    superseded: Mapping[str, set[str]],
) -> None:
    """Send what may leave, one order after the other.

    They are claimed together, so that the disk is waited for once, and before each one leaves it is asked whether its
    claim still holds. Where it does not, the others are taken back, and each is claimed by itself.
    """
    free = [order for order in orders if not superseded.get(order.symbol, set()) & {S.FILLED, *Order.OPEN}]
    claimed, at = _claim_together(free, cycle, permission)
    try:
        for place, order in enumerate(orders):
            if order.pk in claimed and place and not holds(order, at, cycle.book, permission):
                _take_back(claimed, at, cycle)
                claimed = set()
            if order.pk in claimed or _claim(order, cycle, permission, superseded.get(order.symbol, set())):
                claimed.discard(order.pk)
                _send(venue, order)
    except Exception:
        _take_back(claimed, at, cycle)  # none of them has left
        raise


def _claim_together(orders: Sequence[Order], cycle: PipelineCycle, permission: Permission) -> tuple[set[int], datetime]:
    """The keys of the orders that are claimed, all or none where something refuses, and when."""
    book = cycle.book
    if book.state != TradingState.ACTIVE or book.mode != cycle.mode or permission.refusal(book):
        return set(), timezone.now()
    return claim(orders, book, permission)


def _take_back(claimed: set[int], at: datetime, cycle: PipelineCycle) -> None:
    if claimed:
        mine = Order.objects.filter(pk__in=claimed, status=S.SENDING, sending_at=at)
        reconcile.never_arrived(cycle.book_id, mine, "")


def _claim(order: Order, cycle: PipelineCycle, permission: Permission, superseded: set[str]) -> bool:
    """Take the right to send one order, or withhold it for good; False too where it has to wait.

    It is decided while the book's row is locked: a halt that was committed before is obeyed, and the end of a cycle
    that was given up.
    """
    with transaction.atomic():
        book = cycle.book = locked(order.book_id)
        permission.refresh()
        reason = _refused(book, cycle, order) or permission.refusal(book)
        if not reason and S.FILLED in superseded:
            reason = f"an earlier order in {order.symbol} filled although this decision superseded it"
        if not reason and superseded & set(Order.OPEN):
            return False
        if not reason and claim([order], book, permission)[0]:
            return True
        reconcile.withhold(Order.objects.filter(pk=order.pk, status=S.NEW), reason or reconcile.GIVEN_UP)
    return False


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
    try:
        ack = venue.submit(order)
    except (CircuitOpen, UnknownBreaker) as error:
        reconcile.never_arrived(order.book_id, _leaving(order), str(error))
    except Exception as error:
        # A defect in a venue's client says nothing about the order's fate. Nor do the subclasses of Rejected, our own
        # code's complaints: the plain one is the venue's refusal.
        status = S.REJECTED if type(error) is Rejected else S.UNKNOWN
        reason = error_text(error)
        _leaving(order).update(status=status, reason=reason, updated_at=Now())
        logger.bind(order=order.client_order_id, status=str(status), error=reason).warning("order.not_accepted")
        if isinstance(error, SoftTimeLimitExceeded):
            raise  # the sender itself is to stop
    else:
        reconcile.record(order, ack)


def _leaving(order: Order) -> QuerySet[Order]:
    return Order.objects.filter(pk=order.pk, status__in=[S.SENDING, S.UNKNOWN])
