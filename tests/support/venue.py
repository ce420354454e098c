"""A venue that does as its test tells it, and what moves the time around it."""

from datetime import timedelta
from decimal import Decimal as D

from django.db.models import F
from django.utils import timezone

from helios.breakers import CircuitOpen
from trading.models import Order, PipelineCycle
from trading.orders import outbox
from trading.venues.base import Ack

CLOSED = CircuitOpen("valr_api", reason="too many calls failed", retry_after_s=30.0)


class Broken(BaseException):
    """A promise to the venue is broken; nothing that guards against a venue's errors may swallow that."""


class Venue:
    """A venue with its own book: it accepts, forgets nothing, and answers as its test tells it to."""

    grace_s = 60.0

    def __init__(self):
        self.book, self.travelling, self.heard = {}, [], []
        self.errors = []  # what the next calls raise instead of answering
        self.cancels = True
        self.filled = {}  # the part of an order that has filled

    def submit(self, order):
        self.heard.append(f"submit {order.client_order_id}")
        self._fail()
        return self.accept(order.client_order_id)

    def accept(self, key):
        if key in self.book:
            raise Broken(f"{key} was sent twice")
        self.book[key] = "ACCEPTED"
        return self._ack(key)

    def find(self, key):
        self.heard.append(f"find {key}")
        self._fail()
        return self._ack(key) if key in self.book else None

    def cancel(self, key):
        self.heard.append(f"cancel {key}")
        self._fail()
        if self.book.get(key) == "ACCEPTED" and self.cancels:
            self.book[key] = "CANCELLED"
        return self._ack(key) if key in self.book else None

    def _fail(self):
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error

    def _ack(self, key):
        return Ack(venue_order_id=f"v-{key}", status=self.book[key], filled_quantity=self.filled.get(key, D(0)))


def following(cycle):
    """The next bar's cycle, its decision on record."""
    PipelineCycle.objects.update(status="DONE", finished_at=timezone.now())
    bar_ts = cycle.bar_ts + timedelta(days=1)
    made = PipelineCycle.objects.create(book=cycle.book, timeframe="1d", bar_ts=bar_ts, mode="paper")
    outbox.supersede(made)
    return made


def pass_grace():
    Order.objects.update(sending_at=F("sending_at") - timedelta(seconds=Venue.grace_s + 1))


def fates():
    return list(Order.objects.order_by("id").values_list("status", flat=True))
