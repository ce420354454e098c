"""What an order's fate rests on: the venue's evidence, never on silence; and what leaves never leaves twice."""

import random
from decimal import Decimal as D

import pytest
from django.db import IntegrityError, transaction
from loguru import logger

from helios.breakers import UnknownBreaker
from helios.errors import Ambiguous, DataError, Rejected, Transient
from helios.events.models import SystemEvent
from tests.support.orders import Intent, record_intents
from tests.support.venue import CLOSED, Broken, Venue, fates, following, pass_grace
from trading.books import write as books
from trading.models import Book, Order, Position
from trading.orders import outbox
from trading.venues.base import Ack

pytestmark = pytest.mark.django_db


class Crash(BaseException):
    """The sender's process dies here."""


def sent(cycle, venue, *errors):
    record_intents(cycle, [Intent()])
    venue.errors = list(errors)
    outbox.flush(cycle)
    return Order.objects.get()


# --- what left, and what did not ---


@pytest.mark.parametrize("error", [CLOSED, UnknownBreaker("no breaker is named valr_api")], ids=repr)
def test_an_order_that_never_left_waits_and_leaves_later(cycle, venue, error):
    record_intents(cycle, [Intent()])
    venue.errors = [error]
    assert outbox.flush(cycle) == 1
    assert (fates(), Order.objects.get().reason) == (["NEW"], str(error))
    assert outbox.flush(cycle) == 0
    assert (fates(), Order.objects.get().reason) == (["ACCEPTED"], "")


@pytest.mark.parametrize("error", [DataError("no id in the reply"), TimeoutError()], ids=repr)
def test_whatever_may_have_arrived_is_unknown_and_never_rejected(cycle, venue, error):
    record_intents(cycle, [Intent()])
    venue.errors = [error]
    assert outbox.flush(cycle) == 1
    assert fates() == ["UNKNOWN"]


def test_only_the_venues_refusal_rejects(cycle, venue):
    record_intents(cycle, [Intent()])
    venue.errors = [Rejected("insufficient funds")]
    assert outbox.flush(cycle) == 0
    assert (fates(), Order.objects.get().reason) == (["REJECTED"], "insufficient funds")


def test_an_answer_that_no_venue_may_give_is_no_answer():
    with pytest.raises(ValueError, match="must be one of ACCEPTED, REJECTED, FILLED, CANCELLED, was 'NEW'"):
        Ack(venue_order_id="1", status="NEW")


# --- unknown ---


def test_an_order_is_not_sent_again_before_the_venue_was_asked_and_its_grace_is_over(cycle, venue):
    sent(cycle, venue, Ambiguous("no answer"))
    assert [outbox.flush(cycle), outbox.flush(cycle)] == [1, 1]
    assert [word.split()[0] for word in venue.heard] == ["submit", "find", "find"]
    pass_grace()
    assert outbox.flush(cycle) == 0
    assert [word.split()[0] for word in venue.heard[3:]] == ["find", "submit"]


def test_an_order_that_turns_up_within_its_grace_is_found(cycle, venue):
    sent(cycle, venue, Ambiguous("no answer"))
    outbox.flush(cycle)
    venue.accept(Order.objects.get().client_order_id)
    assert outbox.flush(cycle) == 0
    assert fates() == ["ACCEPTED"]


def test_a_question_without_an_answer_proves_nothing(cycle, venue):
    sent(cycle, venue, Ambiguous("no answer"), CLOSED)
    pass_grace()
    assert outbox.flush(cycle) == 1
    assert fates() == ["UNKNOWN"]


# --- superseded ---


def decide(cycle):
    record_intents(cycle, [Intent(bar_ts=cycle.bar_ts)])


def test_a_cancel_without_an_answer_closes_nothing_and_is_asked_again(cycle, venue):
    sent(cycle, venue)
    later = following(cycle)
    venue.errors = [Ambiguous("no answer")]
    assert outbox.flush(later) == 1
    assert fates() == ["ACCEPTED"]
    assert outbox.flush(later) == 0
    assert (fates(), list(venue.book.values())) == (["CANCELLED"], ["CANCELLED"])


def test_an_unknown_order_that_is_superseded_ends_on_evidence_only_and_is_never_sent_again(cycle, venue):
    sent(cycle, venue, Ambiguous("no answer"))
    later = following(cycle)
    assert [outbox.flush(later), outbox.flush(later)] == [1, 1]
    assert fates() == ["UNKNOWN"]
    pass_grace()
    assert outbox.flush(later) == 0
    assert (fates(), venue.book) == (["CANCELLED"], {})


def test_an_order_that_the_venue_still_holds_stays_open_and_the_new_one_waits_behind_it(cycle, venue):
    sent(cycle, venue)
    later = following(cycle)
    decide(later)
    venue.cancels = False
    assert outbox.flush(later) == 2
    assert fates() == ["ACCEPTED", "NEW"]
    venue.cancels = True
    assert outbox.flush(later) == 0
    assert fates() == ["CANCELLED", "ACCEPTED"]
    assert venue.heard[-2:] == ["cancel h-AAPL-BUY-02", "submit h-AAPL-BUY-03"]


def test_orders_in_other_symbols_do_not_wait(cycle, venue):
    sent(cycle, venue)
    later = following(cycle)
    record_intents(later, [Intent("IBM", bar_ts=later.bar_ts)])
    venue.cancels = False
    outbox.flush(later)
    assert fates() == ["ACCEPTED", "ACCEPTED"]


@pytest.mark.parametrize("refused", [False, True])
def test_a_superseded_order_that_filled_after_all_withholds_the_new_one_of_its_symbol(cycle, venue, refused):
    order = sent(cycle, venue)
    later = following(cycle)
    decide(later)
    venue.book[order.client_order_id] = "FILLED"
    venue.errors = [Rejected("it is filled")] if refused else []
    said = list[tuple[str, str]]()
    sink = logger.add(lambda each: said.append((each.record["message"], each.record["extra"].get("error"))))
    assert outbox.flush(later) == 0
    logger.remove(sink)
    assert (("order.not_cancelled", "it is filled") in said) is refused
    assert fates() == ["FILLED", "WITHHELD"]
    assert Order.objects.get(cycle=later).reason == (
        "an earlier order in AAPL filled although this decision superseded it"
    )


@pytest.mark.parametrize("cancels", [True, False])
def test_a_superseded_order_that_filled_in_part_withholds_the_new_one_of_its_symbol(cycle, venue, cancels):
    order = sent(cycle, venue)
    later = following(cycle)
    decide(later)
    venue.filled[order.client_order_id], venue.cancels = D(4), cancels
    outbox.flush(later)
    assert fates() == ["CANCELLED" if cancels else "ACCEPTED", "WITHHELD"]
    assert Order.objects.get(cycle=cycle).filled_quantity == 4


def test_a_circuit_that_refuses_the_sender_of_a_superseded_order_ends_it(cycle, venue):
    record_intents(cycle, [Intent()])

    def overtaken(_order):
        following(cycle)
        raise CLOSED

    venue.submit = overtaken
    outbox.flush(cycle)
    assert fates() == ["CANCELLED"]


def test_the_database_refuses_to_let_a_superseded_order_wait_to_be_sent(cycle, venue):
    sent(cycle, venue)
    following(cycle)
    with pytest.raises(IntegrityError, match="orders_superseded_never_sent"), transaction.atomic():
        Order.objects.update(status="NEW")


def test_an_accepted_order_that_the_venue_no_longer_lists_is_unknown_again_and_holds_its_symbol(cycle, venue):
    order = sent(cycle, venue)
    later = following(cycle)
    decide(later)
    venue.book.clear()
    pass_grace()
    assert [outbox.flush(later), outbox.flush(later)] == [2, 2]
    assert fates() == ["UNKNOWN", "NEW"]
    event = SystemEvent.objects.get(kind="order.missing")  # said once
    assert (event.severity, event.subject) == ("critical", order.client_order_id)
    pass_grace()  # since the first answer without it
    assert outbox.flush(later) == 0
    assert fates() == ["CANCELLED", "ACCEPTED"]


# --- reductions ---


@pytest.mark.parametrize(
    ("held", "side", "quantity", "leaving", "told"),
    [
        (10, "SELL", 10, 0, True),
        (10, "SELL", 11, 0, False),
        (10, "SELL", 4, 7, False),
        (10, "BUY", 1, 0, False),
        (0, "SELL", 1, 0, False),
        (-10, "BUY", 10, 0, True),
        (-10, "BUY", 11, 0, False),
        (-10, "SELL", 1, 0, False),
    ],
)
def test_a_reduction_shrinks_a_position_with_all_that_is_on_its_way(cycle, held, side, quantity, leaving, told):
    Position.objects.filter(symbol="AAPL").update(quantity=held)
    if leaving:
        record_intents(cycle, [Intent(side=side, quantity=leaving)])
        Order.objects.update(status="ACCEPTED")
        cycle = following(cycle)
    made = record_intents(cycle, [Intent(side=side, quantity=quantity, bar_ts=cycle.bar_ts)])[0]
    assert outbox.reduces(made) is told


# --- everything at once ---


class Unruly(Venue):
    """Loses requests and answers, delivers late, fills when it likes, and takes its sender down with it."""

    def __init__(self, rng):
        super().__init__()
        self.rng, self.calm = rng, False

    def submit(self, order):
        key, superseded = order.client_order_id, order.client_order_id.rsplit("-", 1)[0]
        there = {k for k, status in self.book.items() if status == "ACCEPTED"} | set(self.travelling)
        if any(other.startswith(superseded) for other in there - {key}):
            raise Broken(f"{key} was sent while an order that it supersedes is open in {there}")
        fault = "" if self.calm else self.rng.choice(["", "", "", "lost", "late", "deaf", "dies", "died", "open"])
        if fault == "open":
            raise CLOSED
        if fault == "dies":
            raise Crash
        if fault == "late":
            self.travelling.append(key)
        if fault in {"lost", "late"}:
            raise self.rng.choice([Ambiguous("no answer"), KeyError("id")])
        ack = self.accept(key)
        if fault == "deaf":
            raise Ambiguous("no answer")
        if fault == "died":
            raise Crash
        return ack

    def find(self, key):
        self._mood()
        return super().find(key)

    def cancel(self, key):
        self._mood()
        self.cancels = self.calm or self.rng.random() < 0.7
        ack = super().cancel(key)
        self._mood()
        return ack

    def _mood(self):
        if not self.calm and self.rng.random() < 0.2:
            raise self.rng.choice([Transient("reset"), Crash()])

    def move(self):
        """Time passes: what travels arrives, what is open may fill."""
        while self.travelling:
            self.accept(self.travelling.pop())
        for key, status in self.book.items():
            if status == "ACCEPTED" and self.rng.random() < 0.15:
                self.book[key] = "FILLED"


def flush(cycle):
    """A sender that may die; one that died comes again as another."""
    try:
        return outbox.flush(cycle)
    except Crash:
        return None


@pytest.mark.parametrize("seed", range(16))
def test_whatever_is_lost_late_or_killed_no_order_is_doubled_dropped_or_sent_against_a_halt(cycle, monkeypatch, seed):
    rng = random.Random(seed)
    venue = Unruly(rng)
    monkeypatch.setattr(outbox, "venue_for", lambda _book: venue)
    for bar in range(4):
        if bar:
            cycle = following(cycle)
        symbols = rng.sample(["AAPL", "IBM"], k=rng.choice([1, 2]))
        record_intents(cycle, [Intent(symbol, bar_ts=cycle.bar_ts) for symbol in symbols])
        for _ in range(rng.randrange(4)):
            flush(cycle)
            holds(venue)
            if rng.random() < 0.4:
                venue.move()
                pass_grace()
            holds(venue)
    known = set(venue.book) | set(venue.travelling)
    books.set_state("desk", "HALTED", actor="ana", reason="storm")
    venue.calm = True
    flush(cycle)
    venue.move()
    pass_grace()
    left = flush(cycle)
    assert set(venue.book) == known
    holds(venue)
    assert left == 0
    assert Book.objects.get().state == "HALTED"
    for order in Order.objects.filter(client_order_id__in=known).exclude(status="ACCEPTED"):
        assert order.status == venue.book[order.client_order_id]


def holds(venue):
    """What must hold at every moment, whoever has died."""
    for order in Order.objects.select_related("superseded_by"):
        key, theirs = order.client_order_id, venue.book.get(order.client_order_id)
        if theirs == "ACCEPTED" or key in venue.travelling:
            assert order.status in {"SENDING", "UNKNOWN", "ACCEPTED"}, f"{key} is lost as {order.status}"
        if theirs == "FILLED":
            assert order.status in {"SENDING", "UNKNOWN", "ACCEPTED", "FILLED"}, f"{key} filled as {order.status}"
        if order.status in {"ACCEPTED", "FILLED"}:
            assert theirs in {"ACCEPTED", "FILLED", "CANCELLED"}
