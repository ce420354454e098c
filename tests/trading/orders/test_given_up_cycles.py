"""A sender told to stop, and a cycle given up under its sender: nothing more leaves, the rest is asked about."""

from datetime import timedelta

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from helios.errors import Ambiguous
from sentinel import dashboard
from tests.support.orders import Intent, record_intents
from tests.support.venue import CLOSED, fates, following, pass_grace
from tiers.live import chain
from trading.models import Order, PipelineCycle
from trading.orders import outbox

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_chains(monkeypatch):
    monkeypatch.setattr(chain, "send_chain", lambda *_: True)


def give_up(cycle):
    """What recovery does with a cycle that made no progress for too long."""
    long_ago = timezone.now() - timedelta(hours=2)
    PipelineCycle.objects.filter(pk=cycle.pk).update(stage="done", redriven=chain.MAX_REDRIVES, progressed_at=long_ago)
    chain.recover(stalled_s=30)
    cycle.refresh_from_db()
    assert cycle.status == "FAILED"


@pytest.mark.parametrize(
    "read", [lambda: chain.recover(stalled_s=30), lambda: call_command("cycles"), dashboard._cycles]
)
def test_who_reads_many_cycles_reads_nothing_long_of_them(cycle, venue, read):
    record_intents(cycle, [Intent()])
    venue.errors = [Ambiguous("no answer")]
    outbox.flush(cycle)
    long_ago = timezone.now() - timedelta(hours=2)
    PipelineCycle.objects.update(stage="done", redriven=chain.MAX_REDRIVES, progressed_at=long_ago)
    with CaptureQueriesContext(connection) as asked:
        read()
    assert not [each["sql"] for each in asked if '."switches"' in each["sql"]]


def words(venue):
    return [word.split()[0] for word in venue.heard]


def test_a_sender_whose_time_is_over_while_it_sends_stops_and_sends_no_further_order(cycle, venue):
    record_intents(cycle, [Intent(), Intent("IBM")])
    venue.errors = [SoftTimeLimitExceeded()]
    with pytest.raises(SoftTimeLimitExceeded):
        outbox.flush(cycle)
    assert (fates(), venue.book) == (["UNKNOWN", "NEW"], {})


def test_a_sender_whose_time_is_over_while_it_asks_stops_and_sends_no_further_order(cycle, venue):
    record_intents(cycle, [Intent()])
    venue.errors = [Ambiguous("no answer"), SoftTimeLimitExceeded()]
    outbox.flush(cycle)
    record_intents(cycle, [Intent("IBM")])
    with pytest.raises(SoftTimeLimitExceeded):
        outbox.flush(cycle)
    assert (fates(), venue.book) == (["UNKNOWN", "NEW"], {})


def test_an_order_that_a_given_up_cycle_was_asking_about_is_not_sent_again(cycle, venue, monkeypatch):
    record_intents(cycle, [Intent()])
    venue.errors = [Ambiguous("no answer")]
    outbox.flush(cycle)
    pass_grace()
    find = venue.find

    def given_up_meanwhile(key):
        monkeypatch.setattr(venue, "find", find)
        give_up(cycle)
        return find(key)

    monkeypatch.setattr(venue, "find", given_up_meanwhile)
    assert outbox.flush(cycle) == 0
    assert (fates(), Order.objects.get().reason, venue.book) == (["WITHHELD"], "the cycle was given up", {})


def test_an_order_that_a_circuit_holds_back_ends_with_its_given_up_cycle(cycle, venue):
    record_intents(cycle, [Intent()])

    def given_up_meanwhile(_order):
        give_up(cycle)
        raise CLOSED

    venue.submit = given_up_meanwhile
    assert outbox.flush(cycle) == 0
    assert (fates(), Order.objects.get().reason) == (["WITHHELD"], f"the cycle was given up; until then: {CLOSED}")


def test_nothing_of_a_cycle_that_has_ended_is_claimed(cycle, venue):
    record_intents(cycle, [Intent(), Intent("IBM")])
    submit = venue.submit

    def given_up_meanwhile(order):
        PipelineCycle.objects.update(status="FAILED", finished_at=timezone.now())
        return submit(order)

    venue.submit = given_up_meanwhile
    assert outbox.flush(cycle) == 0
    assert fates() == ["ACCEPTED", "WITHHELD"]


@pytest.mark.parametrize("arrived", [True, False])
def test_an_unknown_order_of_a_given_up_cycle_is_asked_about_until_its_fate_is_known(cycle, venue, arrived):
    record_intents(cycle, [Intent()])
    venue.errors = [Ambiguous("no answer")]
    outbox.flush(cycle)
    give_up(cycle)
    chain.recover(stalled_s=30)
    assert fates() == ["UNKNOWN"]  # its grace is not over
    if arrived:
        venue.accept(Order.objects.get().client_order_id)
    pass_grace()
    chain.recover(stalled_s=30)
    assert fates() == ["ACCEPTED" if arrived else "WITHHELD"]
    n_asked = len(venue.heard)
    chain.recover(stalled_s=30)
    assert len(venue.heard) == n_asked
    assert words(venue).count("submit") == 1


def test_a_cancel_of_a_given_up_cycle_is_asked_for_until_it_is_there(cycle, venue):
    record_intents(cycle, [Intent()])
    outbox.flush(cycle)
    later = following(cycle)
    venue.cancels = False
    outbox.flush(later)
    give_up(later)
    assert fates() == ["ACCEPTED"]
    venue.cancels = True
    chain.recover(stalled_s=30)
    assert (fates(), list(venue.book.values())) == (["CANCELLED"], ["CANCELLED"])


def test_while_a_cycle_runs_its_own_decision_and_sender_ask_about_earlier_orders(cycle, venue):
    record_intents(cycle, [Intent()])
    venue.errors = [Ambiguous("no answer")]
    outbox.flush(cycle)
    following(cycle)
    n_heard = len(venue.heard)
    chain.recover(stalled_s=30)
    assert (fates(), len(venue.heard)) == (["UNKNOWN"], n_heard)
