"""What people do: each change is a row, a history entry and an event, or a sentence and nothing."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from helios.errors import Conflict, Rejected
from helios.events.models import SystemEvent
from helios.rollouts import selectors, services
from helios.rollouts.core.guards import default_guards
from helios.rollouts.core.rollout_plan import DEFAULT
from helios.rollouts.errors import RolloutRefused, UnknownRollout
from helios.rollouts.models import Rollout, RolloutAnalysis, RolloutEvent
from tests.helios.rollouts.conftest import STEPS, T0, asked

pytestmark = pytest.mark.django_db
LATER = T0 + timedelta(minutes=5)


def counts() -> tuple[int, int, int]:
    events = SystemEvent.objects.filter(source="rollouts").count()
    return Rollout.objects.count(), RolloutEvent.objects.count(), events


def test_a_new_rollout_waits_with_its_plan_its_guards_and_its_champion(plan) -> None:
    row = plan(params={"fast": 10}, books=["demo", "demo ", "other"], description="quicker", reason="too slow")
    assert (row.state, row.champion, row.challenger, row.params) == ("PENDING", "sma_cross", "momentum", {"fast": 10})
    assert [step["percentage"] for step in row.steps] == [0, 0, 1, 50, 100]
    assert row.books == ["demo", "other"]
    entry = RolloutEvent.objects.get()
    assert (entry.action, entry.actor, entry.reason, entry.before) == ("created", "ada", "too slow", None)
    assert entry.after["serves"] == "replay over stored history"
    event = SystemEvent.objects.get(kind="rollout.created")
    assert (event.subject, event.data["target"], event.data["actor"]) == ("faster", "demo", "ada")


def test_without_a_plan_and_guards_the_defaults_are_written_down(plan) -> None:
    row = plan(steps=None)
    assert selectors.steps_of(row) == DEFAULT
    assert row.guards == [each.to_json() for each in default_guards("strategy", "demo")]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": ""}, "name must be 1 to 100 letters, digits"),
        ({"name": "a b"}, "was 'a b'"),
        ({"name": None}, "was None"),
        ({"kind": "flag"}, "kind must be module or strategy, was 'flag'"),
        ({"target": "nowhere"}, "target must be a book, was 'nowhere'"),
        ({"challenger": "magic"}, "challenger must be a strategy, was 'magic'"),
        (
            {"kind": "module", "target": "nowhere"},
            "no module is named 'nowhere'; there are ingest",
        ),
        ({"kind": "module", "target": "risk", "params": {"a": 1}}, "a module takes no params"),
        ({"params": [1]}, "params must be an object, was [1]"),
        ({"books": "demo"}, "books must be a list of names of 1 to 100 letters, was 'demo'"),
        ({"books": [1]}, "books must be a list of names"),
        ({"books": ["demo,other"]}, "each of books must be one entry without a comma, was 'demo,other'"),
        ({"books": ["  "]}, "each of books must not be blank"),
        ({"guards": []}, "must have a hard guard"),
        ({"inconclusive_limit": 0}, "whole number from 1 to 1000, was 0"),
        ({"error_limit": True}, "was True"),
        ({"actor": ""}, "must name its actor"),
    ],
)
def test_a_bad_rollout_is_refused_in_one_sentence_and_nothing_is_written(plan, wrong, sentence: str) -> None:
    before = counts()
    with pytest.raises(Rejected, match=re.escape(sentence)):
        plan(**wrong)
    assert counts() == before


def test_a_target_has_one_live_rollout_and_a_name_is_free_again_after_the_end(plan) -> None:
    first = plan()
    with pytest.raises(RolloutRefused, match="demo must have one live rollout at a time, has faster"):
        plan("other")
    with pytest.raises(RolloutRefused, match="name of a live rollout must be free, was taken: faster"):
        plan()
    services.abort(first.pk, actor="ada")
    again = plan()
    assert selectors.get("faster") == again
    services.abort(again.pk, actor="ada")
    assert selectors.get("faster") == again
    assert selectors.get(first.pk) == first


def test_the_database_refuses_a_second_live_rollout_too(plan) -> None:
    row = plan()
    row.pk, row.name = None, "other"
    with pytest.raises(IntegrityError, match="rollouts_one_a_target"), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.parametrize("which", ["nothing", 12_345])
def test_an_unknown_rollout_is_named(which, db) -> None:
    with pytest.raises(UnknownRollout, match=f"{which!r} does not"):
        selectors.get(which)


@pytest.mark.parametrize("act", [services.start, services.pause, services.resume, services.promote, services.abort])
def test_nothing_can_be_done_to_a_rollout_that_is_not_there(act, db) -> None:
    with pytest.raises(UnknownRollout, match="number 12345 does not"):
        act(12_345, actor="ada")


def test_starting_begins_with_the_first_step_and_a_replay_is_due_at_once(plan) -> None:
    row = services.start(plan().pk, actor="bob", reason="market open", now=LATER)
    assert (row.state, row.step, row.started_at, row.measured_since) == ("RUNNING", 0, LATER, LATER)
    assert row.next_analysis_at == LATER
    assert RolloutEvent.objects.filter(action="started").get().actor == "bob"


def test_any_other_first_step_waits_for_its_interval(plan) -> None:
    row = services.start(plan(steps=STEPS[1:]).pk, actor="bob", now=LATER)
    assert row.next_analysis_at == LATER + timedelta(seconds=60)


def test_starting_reads_the_champion_that_serves_by_then(plan, desk) -> None:
    row = plan()
    desk.champion = "buy_and_hold"
    assert services.start(row.pk, actor="ada").champion == "buy_and_hold"


def test_pause_and_resume_keep_the_step_and_what_was_measured(at_step) -> None:
    row = at_step(2)
    since = row.measured_since
    paused = services.pause(row.pk, actor="bob", reason="news", now=LATER)
    assert (paused.state, paused.step, paused.cause, paused.reason) == ("PAUSED", 2, "person", "news")
    assert paused.next_analysis_at is None
    resumed = services.resume(row.pk, actor="bob", now=LATER)
    assert (resumed.state, resumed.step, resumed.cause, resumed.reason) == ("RUNNING", 2, "", "")
    assert resumed.measured_since == since
    assert resumed.next_analysis_at == LATER + timedelta(seconds=60)


def test_a_pause_without_a_reason_names_who(rollout) -> None:
    assert services.pause(rollout.pk, actor="bob").reason == "paused by bob"


def test_promote_takes_the_next_step_without_an_analysis(at_step) -> None:
    row = services.promote(at_step(2).pk, actor="bob", reason="sure", now=LATER)
    assert (row.state, row.step, row.measured_since) == ("RUNNING", 3, LATER)
    assert (RolloutEvent.objects.first().action, RolloutEvent.objects.first().actor) == ("stepped", "bob")


def test_promote_full_leaves_the_swap_to_the_next_beat(at_step, desk) -> None:
    row = services.promote(at_step(2).pk, full=True, actor="bob")
    assert (row.state, desk.promoted) == ("PROMOTING", [])
    services.run_due(LATER)
    row.refresh_from_db()
    assert (row.state, row.ended_at, row.reason) == ("SUCCEEDED", LATER, "momentum serves demo")
    assert desk.promoted == [("demo", "momentum", {}, "rollouts")]


def test_abort_ends_it_and_nothing_is_served_any_more(at_step) -> None:
    row = at_step(3)
    assert asked(["AAPL"])
    ended = services.abort(row.pk, actor="bob", reason="enough", now=LATER)
    assert (ended.state, ended.ended_at, ended.reason) == ("ABORTED", LATER, "enough")
    assert asked(["AAPL"]) == ()


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (services.start, "must be PENDING to be started, was RUNNING"),
        (services.resume, "must be PAUSED to be resumed, was RUNNING"),
    ],
)
def test_what_does_not_fit_the_state_is_refused_and_leaves_no_trace(rollout, act, sentence: str) -> None:
    before = counts()
    with pytest.raises(RolloutRefused, match=sentence):
        act(rollout.pk, actor="ada")
    assert counts() == before


@pytest.mark.parametrize("act", [services.pause, services.promote, services.abort])
def test_the_second_of_two_people_is_told(rollout, act) -> None:
    seen = rollout.version
    services.pause(rollout.pk, actor="ada", version=seen)
    before = counts()
    with pytest.raises(Conflict, match="must still be at version"):
        act(rollout.pk, actor="bob", version=seen)
    assert counts() == before


def test_a_change_needs_somebody_who_makes_it(rollout) -> None:
    with pytest.raises(RolloutRefused, match="must name its actor"):
        services.pause(rollout.pk, actor="")


def test_every_move_is_in_the_history_with_before_and_after(rollout) -> None:
    services.pause(rollout.pk, actor="ada", reason="lunch")
    services.resume(rollout.pk, actor="bob")
    services.abort(rollout.pk, actor="eve")
    entries = list(RolloutEvent.objects.order_by("id"))
    assert [entry.action for entry in entries] == ["created", "started", "paused", "resumed", "aborted"]
    for one, following in pairwise(entries):
        assert following.before == one.after
    assert [entry.after["version"] for entry in entries] == [0, 1, 2, 3, 4]
    kinds = SystemEvent.objects.filter(source="rollouts").order_by("id").values_list("kind", "severity")
    assert list(kinds)[-3:] == [
        ("rollout.paused", "warning"),
        ("rollout.resumed", "info"),
        ("rollout.aborted", "warning"),
    ]


@pytest.mark.parametrize("table", ["rollout_history", "rollout_analyses"])
def test_what_was_written_stays(rollout, strict, table: str) -> None:
    services.advance(rollout.pk, T0)
    assert RolloutAnalysis.objects.exists()
    for statement in (f"UPDATE {table} SET reason = 'x'", f"DELETE FROM {table}"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            connection.cursor().execute(statement)
