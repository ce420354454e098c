"""Orders that are claimed together: each leaves only while its claim holds, and one that has not left is taken back."""

from datetime import timedelta

import pytest

from helios.control import generations
from tests.support.orders import Intent, record_intents
from tests.support.venue import fates, pass_grace
from trading.books import write as books
from trading.models import Book, Order
from trading.orders import order_claims, outbox

pytestmark = pytest.mark.django_db
THREE = [Intent(), Intent("IBM"), Intent("IBM", "SELL")]


class Died(BaseException):
    """The sender's process dies here."""


def meanwhile(venue, happens):
    """Let something happen while the first order is on its way to the venue."""
    submit = venue.submit

    def submitted(order):
        if not venue.heard:
            happens()
        return submit(order)

    venue.submit = submitted


def sent(venue):
    return [word.removeprefix("submit ") for word in venue.heard if word.startswith("submit")]


def test_a_sender_that_dies_leaves_what_it_had_claimed_to_be_asked_about(cycle, venue):
    record_intents(cycle, THREE)
    venue.errors = [None, Died()]
    with pytest.raises(Died):
        outbox.flush(cycle)
    assert (fates(), len(venue.book)) == (["ACCEPTED", "SENDING", "SENDING"], 1)
    assert outbox.flush(cycle) == 2  # their grace is not over
    assert (fates(), len(venue.book)) == (["ACCEPTED", "UNKNOWN", "UNKNOWN"], 1)
    pass_grace()
    assert outbox.flush(cycle) == 0
    assert (fates(), len(venue.book)) == (["ACCEPTED"] * 3, 3)


def test_a_grace_begins_when_a_claim_can_no_longer_be_used(cycle, venue):
    record_intents(cycle, [Intent()])
    venue.errors = [Died()]
    with pytest.raises(Died):
        outbox.flush(cycle)
    Order.objects.update(sending_at=Order.objects.get().sending_at - timedelta(seconds=venue.grace_s + 0.5))
    assert (outbox.flush(cycle), fates()) == (1, ["UNKNOWN"])


@pytest.mark.parametrize(
    "change", [{"state": "HALTED"}, {"mode": "replay"}, {"flag_overrides": {"auto_trading": False}}]
)
def test_an_order_is_claimed_anew_where_its_book_has_changed(cycle, venue, change):
    record_intents(cycle, THREE)
    meanwhile(venue, lambda: Book.objects.update(**change))
    outbox.flush(cycle)
    allowed = "flag_overrides" in change  # no permission that goes by it was given
    assert fates() == ["ACCEPTED", *(["ACCEPTED"] * 2 if allowed else ["WITHHELD"] * 2)]
    assert all((order.sending_at is None) == (order.status == "WITHHELD") for order in Order.objects.all())


def test_a_book_that_may_only_reduce_lets_the_others_leave_one_by_one(cycle, venue):
    cycle.book.positions.filter(symbol="IBM").update(quantity=10)
    record_intents(cycle, THREE)
    meanwhile(venue, lambda: books.set_state("desk", "REDUCING", actor="ana", reason="storm"))
    outbox.flush(cycle)
    assert fates() == ["ACCEPTED", "WITHHELD", "ACCEPTED"]


class OfFlags(order_claims.Permission):
    """Goes by the generation of the flags that it has read."""

    def __init__(self):
        self.refused = ""
        self.refresh()

    def refusal(self, _book):
        return self.refused

    def unchanged(self):
        return generations.unchanged("flags", self.seen)

    def refresh(self):
        before, self.seen = getattr(self, "seen", None), generations.read()["flags"]
        self.refused = "a flag has changed" if before not in (None, self.seen) else self.refused


def a_flag_changes():
    generations.lock("flags")
    generations.advance("flags")


def test_an_order_does_not_leave_once_what_its_permission_goes_by_has_changed(cycle, venue):
    record_intents(cycle, THREE)
    meanwhile(venue, a_flag_changes)
    outbox.flush(cycle, permission=OfFlags())
    assert fates() == ["ACCEPTED", "WITHHELD", "WITHHELD"]
    assert set(Order.objects.exclude(status="ACCEPTED").values_list("reason", flat=True)) == {"a flag has changed"}


def test_a_claim_that_has_grown_old_is_made_anew(cycle, venue, monkeypatch):
    record_intents(cycle, THREE)
    monkeypatch.setattr(order_claims, "GOOD_FOR", timedelta(0))
    assert outbox.flush(cycle) == 0
    assert (fates(), len(sent(venue))) == (["ACCEPTED"] * 3, 3)


def test_a_sender_sends_nothing_that_another_one_has_taken_over(cycle, venue):
    record_intents(cycle, THREE)
    meanwhile(venue, lambda: Order.objects.filter(status="SENDING").update(status="UNKNOWN"))
    outbox.flush(cycle)
    assert len(sent(venue)) == 1
    assert fates() == ["ACCEPTED", "UNKNOWN", "UNKNOWN"]
