"""A halt against a sender in another session: what is committed first is obeyed, and neither waits for a venue."""

import threading

import pytest
from django.db import connection, transaction

from tests.support.orders import Intent, record_intents
from trading.books import write as books
from trading.models import Order, PaperOrder, TradingModeChange
from trading.orders import outbox
from trading.venues.paper.client import PaperVenue

pytestmark = pytest.mark.django_db(transaction=True)


def elsewhere(work):
    """Run in a thread, which has a database session of its own."""

    def run():
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def halt():
    books.set_state("desk", "HALTED", actor="ana", reason="storm")


def somebody_waits_for_us():
    """Whether another session waits for a lock that this one holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return cursor.fetchone()[0] > 0


def test_a_claim_waits_for_a_halt_that_is_under_way_and_obeys_it(cycle):
    record_intents(cycle, [Intent()])
    with transaction.atomic():
        halt()
        sender = elsewhere(lambda: outbox.flush(cycle))
        while sender.is_alive() and not somebody_waits_for_us():
            pass
    sender.join()
    assert (Order.objects.get().status, Order.objects.get().reason) == ("WITHHELD", "the book is halted")
    assert not PaperOrder.objects.exists()


def test_a_halt_does_not_wait_for_the_venue_and_holds_for_the_next_order(cycle, monkeypatch):
    class Slow(PaperVenue):
        def submit(self, order):
            elsewhere(halt).join()  # it would never end if the sender held the book meanwhile
            return super().submit(order)

    monkeypatch.setattr(outbox, "venue_for", lambda _book: Slow())
    record_intents(cycle, [Intent(), Intent("IBM")])
    assert outbox.flush(cycle) == 0
    assert list(Order.objects.order_by("id").values_list("status", flat=True)) == ["ACCEPTED", "WITHHELD"]
    assert TradingModeChange.objects.count() == 1


def test_two_senders_at_once_send_an_order_once(cycle):
    record_intents(cycle, [Intent(), Intent("IBM")])
    ready = threading.Barrier(2)

    def send():
        ready.wait()
        outbox.flush(cycle)

    for thread in [elsewhere(send), elsewhere(send)]:
        thread.join()
    assert PaperOrder.objects.count() == 2
    assert set(Order.objects.values_list("status", flat=True)) == {"ACCEPTED"}
