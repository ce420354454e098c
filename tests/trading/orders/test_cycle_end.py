"""A person ends a cycle, by whichever way in: for a reason, once, and nothing more leaves."""

import io
import json
import threading
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.urls import reverse

from helios.db import locks
from helios.errors import Ambiguous, Conflict
from helios.web.roles import Role
from tests.support.commands import answered
from tests.support.orders import Intent, record_intents
from tests.support.people import api_of
from tests.support.venue import fates, pass_grace
from tiers.live import chain, stages
from trading.models import LedgerEntry, Order, PipelineCycle, Stage, StageRun
from trading.orders import cycle_end, outbox

pytestmark = pytest.mark.django_db
PAGE = "admin:trading_pipelinecycle_changelist"


def path(cycle):
    return f"/api/cycles/{cycle.pk}/end"


def test_an_operator_ends_a_cycle_and_asked_twice_it_ends_once(cycle):
    body = {"reason": "the new version asks for ever"}
    assert api_of(Role.VIEWER).post(path(cycle), body).status_code == 403
    operator = api_of(Role.OPERATOR)
    for reason in (body, {"reason": "again"}):
        answer = operator.post(path(cycle), reason)
        assert (answer.status_code, answer.json()["status"]) == (200, "FAILED")
        assert answer.json()["reason"] == "ended by operator at ingest: the new version asks for ever"
    entry = LedgerEntry.objects.get(cycle=cycle)
    assert (entry.kind, entry.payload["actor"], entry.hash) == ("end", "operator", answer.json()["ledger_hash"])


def test_a_row_whose_numbers_are_none_keeps_nobody_from_the_list_or_from_its_end(cycle):
    """As an older database may hold one; nobody may delete it."""
    odd = {"queue_ms": float("nan"), "duration_ms": float("inf"), "stage": Stage.INGEST}
    StageRun.objects.create(cycle=cycle, worker="w", module_version="x", **odd)
    operator = api_of(Role.OPERATOR)
    stages = [{**operator.get("/api/cycles/").json()["results"][0]["stages"][0]}]
    for key in ("", "once", "once"):
        answer = operator.post(path(cycle), {"reason": "odd"}, **({"Idempotency_Key": key} if key else {}))
        assert (answer.status_code, answer.json()["status"]) == (200, "FAILED")
        stages += answer.json()["stages"]
    assert {(each["queue_ms"], each["duration_ms"]) for each in stages} == {(None, None)}


def test_a_cycle_is_ended_for_a_reason_only(cycle):
    answer = api_of(Role.OPERATOR).post(path(cycle))
    assert (answer.status_code, "for a reason only" in answer.json()["detail"]) == (422, True)
    assert PipelineCycle.objects.get().status == "RUNNING"


@pytest.mark.parametrize("number", [999_999, 2**63, 10**40])
def test_a_cycle_that_is_not_there_is_404(db, number):
    assert api_of(Role.OPERATOR).post(f"/api/cycles/{number}/end", {"reason": "stuck"}).status_code == 404


def test_what_was_not_sent_is_withheld_and_what_may_have_left_is_asked_about(cycle, venue):
    record_intents(cycle, [Intent()])
    venue.errors = [Ambiguous("no answer")]
    outbox.flush(cycle)
    record_intents(cycle, [Intent("IBM")])
    unclear = Order.objects.get(status="UNKNOWN")
    ended = cycle_end.end_for(cycle.pk, actor="ana", reason="it waits for ever")
    assert fates() == ["UNKNOWN", "WITHHELD"]
    assert f"{unclear.client_order_id} is still UNKNOWN" in PipelineCycle.objects.get(pk=ended.pk).reason
    venue.accept(unclear.client_order_id)
    pass_grace()
    chain.recover(stalled_s=30)
    assert fates() == ["ACCEPTED", "WITHHELD"]


def test_a_message_for_an_ended_cycle_does_nothing(cycle):
    cycle_end.end_for(cycle.pk, actor="ana", reason="stuck")
    assert stages.run_stage(cycle.pk, Stage.INGEST) == cycle.pk
    assert [entry.kind for entry in LedgerEntry.objects.all()] == ["end"]


def test_the_list_of_the_admin_ends_those_that_were_chosen(admin_client, cycle):
    data = {"action": "end_cycles", "_selected_action": [cycle.pk], "reason": "stuck"}
    assert "1 pipeline cycle(s) ended" in admin_client.post(reverse(PAGE), data, follow=True).content.decode()
    assert PipelineCycle.objects.get().reason == "ended by admin at ingest: stuck"
    again = admin_client.post(reverse(PAGE), data, follow=True).content.decode()
    assert "Nothing is to end of 1 of them: over already." in again
    assert "cycle(s) ended" not in again


def test_the_command_shows_what_runs_and_ends_one(cycle):
    def cycles(*words):
        return [(row["id"], row["status"]) for row in answered("cycles", *words)["cycles"]]

    assert cycles() == [(cycle.pk, "RUNNING")]
    with pytest.raises(CommandError, match="for a reason only"):
        cycles("end", str(cycle.pk))
    assert cycles("end", str(cycle.pk), "--reason", "stuck") == [(cycle.pk, "FAILED")]
    assert cycles() == []
    assert PipelineCycle.objects.get().reason.startswith("ended by cli:"), "no web account has such a name"


def test_the_command_cuts_no_text_in_a_narrow_terminal(cycle, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    type(cycle.book).objects.update(name="replay-2026-11-29-with-a-long-name")
    call_command("cycles")
    shown = capsys.readouterr().out
    assert "RUNNING" in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_the_command_says_that_a_cycle_was_over_already(cycle):
    call_command("cycles", "end", str(cycle.pk), "--reason", "stuck", stdout=io.StringIO())
    out, err = io.StringIO(), io.StringIO()
    call_command("cycles", "end", str(cycle.pk), "--reason", "again", "--json", stdout=out, stderr=err)
    assert err.getvalue() == f"Cycle {cycle.pk} was FAILED already: nothing was done.\n"
    assert json.loads(out.getvalue())["cycles"][0]["reason"].endswith("stuck")


@pytest.mark.django_db(transaction=True)
def test_a_stage_at_work_is_waited_for_a_moment_and_then_said(cycle, monkeypatch):
    """The row is a worker's while it is inside; a person holds up no halt behind it."""
    monkeypatch.setattr(locks, "WAIT_MS", 50)
    refused = []

    def end():
        try:
            cycle_end.end_for(cycle.pk, actor="ana", reason="stuck")
        except Conflict as error:
            refused.append(str(error))
        finally:
            connection.close()

    with transaction.atomic():
        PipelineCycle.objects.select_for_update().get(pk=cycle.pk)
        thread = threading.Thread(target=end)
        thread.start()
        thread.join()
    assert "a worker or another change holds it" in refused[0]


@pytest.mark.django_db(transaction=True)
def test_many_that_are_held_are_waited_for_together(cycle, admin_client, monkeypatch):
    """Their locks wait for a time that all share, so that the others are ended soon."""
    monkeypatch.setattr(locks, "WAIT_MS", 500)
    held = [cycle.pk]
    for number in range(8):
        book = clone(cycle.book, name=f"held-{number}")
        held.append(clone(cycle, book=book).pk)
    free = clone(cycle, book=clone(cycle.book, name="free")).pk
    data = {"action": "end_cycles", "_selected_action": [*held, free], "reason": "stuck"}
    answers, took = [], []

    def end():
        start = time.monotonic()
        answers.append(admin_client.post(reverse(PAGE), data, follow=True).content.decode())
        took.append(time.monotonic() - start)
        connection.close()

    with transaction.atomic():
        list(PipelineCycle.objects.select_for_update().filter(pk__in=held))
        thread = threading.Thread(target=end)
        thread.start()
        thread.join()
    assert took[0] < 3
    assert [number for number in held if f"cycle {number} must be free to be changed" not in answers[0]] == []
    assert PipelineCycle.objects.get(pk=free).status == "FAILED"


def clone(row, **changes):
    """The same row once more."""
    copy = type(row).objects.get(pk=row.pk)
    copy.pk, copy._state.adding = None, True
    for field, value in changes.items():
        setattr(copy, field, value)
    copy.save()
    return copy
