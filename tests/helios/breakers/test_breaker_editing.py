"""Breakers are created, configured and deleted; bad input changes nothing."""

from __future__ import annotations

import threading

import pytest
from django.db import IntegrityError, connection, transaction

from helios.breakers import UnknownBreaker, breaker, process, services
from helios.breakers.errors import InvalidBreaker
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.errors import Conflict, Rejected
from helios.events.models import SystemEvent
from tests.support.together import at_once

pytestmark = pytest.mark.usefixtures("clean_redis")
committed = pytest.mark.usefixtures("breakers_installed")  # other connections see what is written
present = pytest.mark.usefixtures("breakers_present")


def row(name: str = "llm_api") -> CircuitBreaker:
    return CircuitBreaker.objects.get(name=name)


def events() -> list[CircuitBreakerEvent]:
    return list(CircuitBreakerEvent.objects.order_by("id"))


@committed
def test_a_breaker_is_created_with_its_settings_and_a_line_of_history():
    made = services.create("news_api", {"failure_rate": 0.25, "window_s": "60"}, actor="ann", reason="a new vendor")
    assert (made.failure_rate, made.window_s, made.version) == (0.25, 60.0, 1)
    assert breaker("news_api").call(str, 1) == "1"
    (event,) = events()
    assert (event.action, event.actor, event.reason) == ("create", "ann", "a new vendor")
    assert event.changes == {"failure_rate": [0.0, 0.25], "window_s": [0.0, 60.0]}
    told = SystemEvent.objects.get(kind="breaker.changed")
    assert (told.subject, told.severity, told.data["actor"]) == ("news_api", "info", "ann")


@committed
def test_of_two_who_create_one_name_at_once_the_second_is_told():
    told = []

    def second() -> None:
        try:
            services.create("news_api", actor="ben")
        except InvalidBreaker as error:
            told.append(str(error))
        finally:
            connection.close()

    other = threading.Thread(target=second)
    with transaction.atomic():
        services.create("news_api", actor="ann")
        other.start()
        other.join(0.3)  # it waits for the first one's transaction
    other.join(20)
    assert told == ["a new breaker's name must be free, was taken: news_api"]
    assert [event.actor for event in events()] == ["ann"]


@committed
def test_settings_change_together_and_hold_from_the_next_call():
    breaker("llm_api").call(str, 1)
    changed = services.configure(
        "llm_api", {"failure_threshold": 1, "minimum_calls": 1, "open_s": 5}, actor="ann", reason="nervous"
    )
    assert (changed.version, row().failure_threshold) == (2, 1)
    assert process.current().circuit("llm_api").settings.config.open_s == 5
    (event,) = events()
    assert event.changes == {"failure_threshold": [5, 1], "minimum_calls": [5, 1], "open_s": [60.0, 5.0]}
    assert event.difference() == "failure_threshold: 5 -> 1, minimum_calls: 5 -> 1, open_s: 60.0 -> 5.0"
    assert (event.before, event.after) == ("CLOSED", "CLOSED")


@present
def test_a_change_that_changes_nothing_leaves_no_trace():
    assert services.configure("llm_api", {"open_s": 60}, actor="ann").version == 1
    assert events() == []


@present
def test_the_second_of_two_operators_is_told():
    seen = row().version
    services.configure("llm_api", {"open_s": 30}, actor="ann", version=seen)
    with pytest.raises(Conflict, match="llm_api must still be at version 1, is at 2: it was changed meanwhile by ann"):
        services.configure("llm_api", {"open_s": 10}, actor="bob", version=seen)
    assert row().open_s == 30
    services.force_open("llm_api", actor="ann")
    with pytest.raises(Conflict):
        services.configure("llm_api", {"open_s": 10}, actor="bob", version=2)


@committed
def test_of_two_operators_at_the_same_moment_exactly_one_wins():
    def change(open_s: int) -> str:
        try:
            services.configure("llm_api", {"open_s": open_s}, actor=f"operator {open_s}", version=1)
        except Conflict:
            return "told"
        return "changed"

    told = at_once(change, (10, 20))
    assert sorted(told) == ["changed", "told"]
    assert row().version == 2
    assert len(events()) == 1


@present
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "settings of a breaker are failure_threshold, .*description, was colour"),
        ({"mode": "normal"}, "settings of a breaker are .*, was mode"),
        ({"open_s": "soon"}, "open_s must be a number, was 'soon'"),
        ({"open_s": True}, "open_s must be a number, was True"),
        ({"open_s": float("inf")}, "open_s must be a finite number, was inf"),
        ({"failure_threshold": 2.5}, "failure_threshold must be a whole number, was 2.5"),
        ({"failure_threshold": 10**400}, "failure_threshold must be a number"),
        ({"order_path": "perhaps"}, "order_path must be true or false, was 'perhaps'"),
        ({"description": "x" * 201}, "description must have at most 200 characters, had 201"),
        ({"open_s": 30, "open_jitter": 2}, "llm_api: open_jitter must be from 0 to 1, was 2"),
    ],
)
def test_bad_settings_are_refused_and_change_nothing(changes, message):
    before = row().settings()
    with pytest.raises(InvalidBreaker, match=message) as caught:
        services.configure("llm_api", changes, actor="ann")
    assert isinstance(caught.value, Rejected)
    with pytest.raises(InvalidBreaker):
        services.create("news_api", {"minimum_calls": 5, **changes, "nonsense": 1}, actor="ann")
    assert row().settings() == before
    assert not CircuitBreaker.objects.filter(name="news_api").exists()
    assert events() == []


@present
@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "a/b", "llm_api"])
def test_names_that_cannot_be_are_refused(name):
    with pytest.raises(InvalidBreaker, match=r"a (new )?breaker's name must be"):
        services.create(name, actor="ann")


@present
@pytest.mark.parametrize("actor", ["", "  "])
def test_nobody_changes_nothing(actor):
    for change in (
        lambda: services.create("news_api", actor=actor),
        lambda: services.configure("llm_api", {"open_s": 5}, actor=actor),
        lambda: services.force_open("llm_api", actor=actor),
        lambda: services.reset("llm_api", actor=actor),
    ):
        with pytest.raises(InvalidBreaker, match="must name its actor"):
            change()
    assert events() == []


@present
def test_text_from_a_terminal_is_understood():
    changed = services.configure("llm_api", {"order_path": "yes", "open_s": "1e1", "window_calls": "12"}, actor="ann")
    assert (changed.order_path, changed.open_s, changed.window_calls) == (True, 10.0, 12)


@committed
def test_a_deleted_breaker_is_unknown_to_everybody_and_keeps_its_history(clean_redis):
    services.create("news_api", actor="ann")
    breaker("news_api").call(str, 1)
    services.delete("news_api", actor="bob", reason="the vendor is gone")
    with pytest.raises(UnknownBreaker):
        breaker("news_api").call(str, 1)
    assert not clean_redis.exists("helios:{breakers}:news_api")
    assert [(event.action, event.actor) for event in events()] == [("create", "ann"), ("delete", "bob")]
    with pytest.raises(UnknownBreaker):
        services.delete("news_api", actor="bob")


@present
def test_a_breaker_is_deleted_only_as_it_was_seen():
    services.create("news_api", actor="ann")
    services.configure("news_api", {"open_s": 5}, actor="ann")
    with pytest.raises(Conflict):
        services.delete("news_api", actor="bob", version=1)
    assert CircuitBreaker.objects.filter(name="news_api").exists()


@present
def test_numbers_that_contradict_each_other_do_not_reach_the_database_either():
    broken = row()
    for field, value in (("window_calls", 2), ("failure_rate", 2), ("open_multiplier", 3), ("slow_call_rate", 0.5)):
        broken = row()
        setattr(broken, field, value)
        with pytest.raises(IntegrityError), transaction.atomic():
            broken.save()
    broken = row("valr_api")
    broken.mode = "metrics_only"
    with pytest.raises(IntegrityError, match="order_path_acts"), transaction.atomic():
        broken.save()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "5 failures in the last 10 calls, for 60 s"),
        ({"failure_threshold": 0, "failure_rate": 0.5}, "50% failures in the last 10 calls, for 60 s"),
        (
            {"slow_call_s": 2, "slow_call_rate": 0.25, "window_calls": 0, "window_s": 90},
            "5 failures or 25% slower than 2 s in the last 90 s, for 60 s",
        ),
        (
            {"window_s": 30, "open_multiplier": 2, "open_max_s": 600},
            "5 failures in the last 10 calls within the last 30 s, for 60 s, up to 600 s",
        ),
    ],
)
def test_the_limits_are_told_in_plain_words(fields, words):
    assert CircuitBreaker(name="c", **fields).opens_at() == words
