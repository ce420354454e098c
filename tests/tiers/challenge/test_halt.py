"""A halt, or a word to only reduce, is obeyed by the cycle under way: whatever the stage, and however late it comes."""

from decimal import Decimal

import pytest

from tests.tiers.challenge.conftest import FIRST
from tests.tiers.challenge.conftest import run as run_cycle
from tiers.live import chain, stages
from trading.books import write as books
from trading.models import Book, Order, PaperOrder, PipelineCycle, Position, RiskDecision, Stage, TradingModeChange
from trading.orders import outbox
from trading.venues.paper.client import PaperVenue

pytestmark = pytest.mark.django_db
MOMENTS = ("before its work", "after its work")


def move(name, state):
    return lambda: books.set_state(name, state, actor="ana", reason="news")


def disturb(monkeypatch, stage, moment, act):
    """Act once inside a stage, which has read its book by then."""
    handler = stages.HANDLERS[stage]

    def disturbed(ctx):
        if moment == MOMENTS[0]:
            act()
        result = handler(ctx)
        if moment == MOMENTS[1]:
            act()
        return result

    monkeypatch.setitem(stages.HANDLERS, stage, disturbed)


def run_disturbed(monkeypatch, book, bar_ts, stage, moment, act):
    disturb(monkeypatch, stage, moment, act)
    return run_cycle(book, bar_ts)


def history():
    return list(TradingModeChange.objects.order_by("id").values_list("before", "after", "actor"))


def test_undisturbed_the_same_cycle_sends_orders(book, times):
    assert run_cycle(book, times[FIRST]).status == "DONE"
    assert PaperOrder.objects.count() >= 2


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("stage", chain.STAGES, ids=str)
def test_no_order_leaves_after_a_halt_in_any_stage(book, times, monkeypatch, stage, moment):
    cycle = run_disturbed(monkeypatch, book, times[FIRST], stage, moment, move("desk", "HALTED"))
    assert cycle.status == "DONE"
    assert not PaperOrder.objects.exists()
    assert {(o.status, o.reason) for o in cycle.orders.all()} <= {("WITHHELD", "the book is halted")}
    assert Book.objects.get().state == "HALTED"
    assert history() == [("ACTIVE", "HALTED", "ana")]


@pytest.fixture
def invested(book, times):
    """The desk with positions above what its model wants now: the next cycle sells some and buys others."""
    run_cycle(book, times[FIRST])
    run_cycle(book, times[FIRST + 1], upto=Stage.FEATURES)
    PipelineCycle.objects.filter(stage="features").update(status="DONE", finished_at=times[FIRST + 1])
    held = Position.objects.filter(book=book).exclude(quantity=0).order_by("-quantity").first()
    Position.objects.filter(pk=held.pk).update(quantity=held.quantity * 3)
    Position.objects.filter(book=book).exclude(pk=held.pk).update(quantity=0, cost=0)
    book.refresh_from_db()
    return book


def test_undisturbed_the_invested_desk_sells_and_buys(invested, times):
    run_cycle(invested, times[FIRST + 2])
    assert set(Order.objects.filter(bar_ts=times[FIRST + 2]).values_list("side", flat=True)) == {"BUY", "SELL"}


@pytest.mark.parametrize("stage", chain.STAGES, ids=str)
def test_only_reductions_leave_once_the_book_is_to_reduce(invested, times, monkeypatch, stage):
    sent_before = set(PaperOrder.objects.values_list("pk", flat=True))
    held = dict(Position.objects.values_list("symbol", "quantity"))
    cycle = run_disturbed(monkeypatch, invested, times[FIRST + 2], stage, MOMENTS[1], move("desk", "REDUCING"))
    assert cycle.status == "DONE"
    sent = PaperOrder.objects.exclude(pk__in=sent_before)
    assert sent.exists()
    assert all(o.side == "SELL" and o.quantity <= held[o.symbol] for o in sent)
    kept = cycle.orders.exclude(client_order_id__in=sent.values("client_order_id"))
    assert {(o.status, o.reason) for o in kept} <= {("WITHHELD", "the book may only reduce its positions")}
    assert Book.objects.get().state == "REDUCING"
    assert history() == [("ACTIVE", "REDUCING", "ana")]


def test_what_changes_between_two_orders_is_seen_by_the_second(book, times, monkeypatch):
    class SwitchedOff(PaperVenue):
        def submit(self, order):
            Book.objects.update(flag_overrides={"auto_trading": False})
            return super().submit(order)

    monkeypatch.setattr(outbox, "venue_for", lambda _book: SwitchedOff())
    cycle = run_cycle(book, times[FIRST])
    assert PaperOrder.objects.count() == 1
    assert set(cycle.orders.exclude(status="ACCEPTED").values_list("reason", flat=True)) == {"auto_trading is off"}


def test_a_cycle_never_sends_in_a_mode_it_was_not_decided_in(book, times, monkeypatch):
    disturb(monkeypatch, Stage.EXECUTE, MOMENTS[1], lambda: Book.objects.update(mode="paper"))
    cycle = run_cycle(book, times[FIRST])
    assert not PaperOrder.objects.exists()
    assert set(cycle.orders.values_list("reason", flat=True)) == {"the book is in paper mode now"}


def test_a_stop_starts_no_new_cycle_and_lets_the_running_one_end(book, times, monkeypatch):
    books.set_active("desk", active=True, actor="ana", reason="")
    stop = lambda: books.set_active("desk", active=False, actor="ana", reason="")  # noqa: E731
    assert run_disturbed(monkeypatch, book, times[FIRST], Stage.RISK, MOMENTS[0], stop).status == "DONE"
    assert PaperOrder.objects.exists()


# --- the risk tier's own word ---


def drawn_down(book, share):
    """A peak that makes today's equity a drawdown."""
    Book.objects.filter(pk=book.pk).update(peak_equity=book.cash / (1 - share))
    book.refresh_from_db()


def test_the_risk_tier_halts_on_record_and_only_a_person_ends_it(book, times):
    drawn_down(book, Decimal("0.5"))
    run_cycle(book, times[FIRST])
    change = TradingModeChange.objects.get()
    assert (change.before, change.after, change.actor) == ("ACTIVE", "HALTED", "risk")
    assert "50.00%" in change.reason
    Book.objects.update(peak_equity=book.cash)
    run_cycle(book, times[FIRST + 1])
    assert Book.objects.get().state == "HALTED"
    assert not PaperOrder.objects.exists()


def test_what_the_risk_tier_reduced_it_ends_by_its_rule_on_record(book, times):
    drawn_down(book, Decimal("0.32"))
    run_cycle(book, times[FIRST])
    assert Book.objects.get().state == "REDUCING"
    Book.objects.update(peak_equity=book.cash)
    run_cycle(book, times[FIRST + 1])
    assert history() == [("ACTIVE", "REDUCING", "risk"), ("REDUCING", "ACTIVE", "risk")]


def test_what_a_person_reduced_no_rule_ends(book, times):
    move("desk", "REDUCING")()
    run_cycle(book, times[FIRST])
    assert Book.objects.get().state == "REDUCING"
    assert RiskDecision.objects.get().state == "REDUCING"
    assert history() == [("ACTIVE", "REDUCING", "ana")]
    assert not PaperOrder.objects.exists()


def test_a_resume_in_the_middle_of_the_risk_stage_stands_and_the_cycle_stays_careful(book, times, monkeypatch):
    move("desk", "HALTED")()
    cycle = run_disturbed(monkeypatch, book, times[FIRST], Stage.RISK, MOMENTS[0], move("desk", "ACTIVE"))
    assert Book.objects.get().state == "ACTIVE"
    assert RiskDecision.objects.get().state == "HALTED"
    assert not cycle.orders.exists()
