"""Transitions reach the history whatever becomes of the caller's transaction."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from helios.breakers import CircuitOpen, breaker, process, refresh_if_behind, services
from helios.breakers.journal import KEPT, Entry, Journal, on_own_connection
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.events.models import SystemEvent

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clean_redis", "breakers_installed"),
]


def fail() -> None:
    raise OSError("the vendor is down")


def open_it(name: str = "neural_network") -> None:
    for _ in range(3):
        with pytest.raises(OSError, match="vendor"):
            breaker(name).call(fail)


def moves(name: str = "neural_network") -> list[tuple[str, str]]:
    return list(CircuitBreakerEvent.objects.filter(breaker_id=name).order_by("id").values_list("before", "after"))


def test_an_opening_is_in_the_history_the_event_log_and_the_row():
    open_it()
    event = CircuitBreakerEvent.objects.get()
    assert (event.breaker_id, event.before, event.after) == ("neural_network", "CLOSED", "OPEN")
    assert (event.reason, event.actor, event.shared) == ("3 of the last 3 calls failed", "system", True)
    assert str(event) == "neural_network: CLOSED -> OPEN"
    told = SystemEvent.objects.get(kind="breaker.transition")
    assert (told.subject, told.severity, told.data["after"]) == ("neural_network", "warning", "OPEN")
    row = CircuitBreaker.objects.get(name="neural_network")
    assert (row.last_state, row.last_state_at) == ("OPEN", event.ts)


def test_an_opening_survives_the_rollback_of_the_transaction_it_happened_in():
    def trade() -> None:
        with transaction.atomic():
            open_it()
            raise OSError("the vendor is down")

    with pytest.raises(OSError, match="vendor"):
        trade()
    assert moves() == [("CLOSED", "OPEN")]


def test_an_opening_inside_a_broken_transaction_neither_fails_nor_is_lost():
    def trade() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            with contextlib.suppress(DatabaseError):
                cursor.execute("SELECT 1 / 0")
            open_it()
            cursor.execute("SELECT 1")  # the transaction is as broken as before, no more and no less

    with pytest.raises(DatabaseError, match="current transaction"):
        trade()
    assert moves() == [("CLOSED", "OPEN")]


def test_an_opening_inside_a_running_event_loop_is_written_too():
    async def story() -> None:
        async def afail() -> None:
            fail()

        for _ in range(3):
            with pytest.raises(OSError, match="vendor"):
                await breaker("neural_network").acall(afail)

    asyncio.run(story())
    assert moves() == [("CLOSED", "OPEN")]


def entry(number: int = 0) -> Entry:
    ts = datetime(2026, 1, 1, second=number % 60, tzinfo=UTC)
    return Entry(ts=ts, name="llm_api", before="CLOSED", after="OPEN", reason=f"number {number}")


def test_what_cannot_be_written_now_is_written_later_in_order(monkeypatch):
    journal = Journal()
    with monkeypatch.context() as patch:
        patch.setattr("helios.breakers.journal.write", _refuse)
        journal.add(entry(1))
        journal.add(entry(2))
        assert journal.waiting == 2
    journal.add(entry(3))
    assert journal.waiting == 0
    reasons = CircuitBreakerEvent.objects.order_by("id").values_list("reason", flat=True)
    assert list(reasons) == ["number 1", "number 2", "number 3"]


def test_a_check_at_a_tasks_start_writes_what_waited(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("helios.breakers.journal.write", _refuse)
        open_it()
    assert moves() == []
    refresh_if_behind()
    assert moves() == [("CLOSED", "OPEN")]


def test_a_long_outage_of_the_database_keeps_the_latest_transitions(monkeypatch):
    monkeypatch.setattr("helios.breakers.journal.write", _refuse)
    monkeypatch.setattr("helios.breakers.journal.on_own_connection", lambda _: None)
    journal = Journal()
    for number in range(KEPT + 5):
        journal.add(entry(number))
    assert journal.waiting == KEPT


def _refuse(_: Entry) -> None:
    raise DatabaseError("the database is away")


def test_a_transition_written_late_does_not_turn_the_last_state_back():
    services.force_open("llm_api", actor="ann")
    journal = Journal()
    journal.add(entry())
    assert CircuitBreaker.objects.get(name="llm_api").last_state == "FORCED_OPEN"


def test_work_beside_the_caller_has_a_connection_of_its_own():
    def backend() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return cursor.fetchone()[0]

    assert on_own_connection(backend) != backend()


def strictly(change: Callable[[], object]) -> None:
    """As in production: the tests' own connection may clean append-only tables."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL helios.maintenance = 'off'")
        change()


def test_history_can_be_neither_changed_nor_deleted():
    open_it()
    for change in (
        lambda: CircuitBreakerEvent.objects.update(reason="nothing happened"),
        lambda: CircuitBreakerEvent.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"):
            strictly(change)


def test_settings_changed_elsewhere_hold_within_a_moment():
    open_it()
    services.configure("neural_network", {"order_path": True}, actor="ann")
    assert process.current().circuit("neural_network").settings.order_path
    assert breaker("neural_network").call(str, 1, reducing=True) == "1"


def test_settings_are_read_once_and_again_when_they_changed(monkeypatch):
    breaker("llm_api").call(str, 1)
    reads = []
    current = process.current()
    read = process._load
    monkeypatch.setattr(process, "_load", lambda: reads.append(1) or read())
    for _ in range(3):
        refresh_if_behind()
    assert reads == []
    current.store.announce()  # as another process would
    refresh_if_behind()
    refresh_if_behind()
    assert reads == [1]


def test_orders_wait_until_it_is_known_whether_a_person_has_opened_their_breaker(monkeypatch):
    """A process that begins while the database does not answer knows only the settings as shipped."""
    services.force_open("valr_api", actor="ann")
    process.forget()
    with monkeypatch.context() as patch:
        patch.setattr(process, "on_own_connection", lambda _work: None)
        for _ in range(2):
            with pytest.raises(CircuitOpen, match="nobody could read yet whether a person opened it"):
                breaker("valr_api").call(str, 1)
        assert breaker("valr_api").call(str, 1, reducing=True) == "1"
        assert breaker("llm_api").call(str, 1) == "1"  # guards no orders: as shipped
    process.current()._next_attempt = 0.0
    with pytest.raises(CircuitOpen, match="a person opened it; it may be tried again when"):
        breaker("valr_api").call(str, 1)
    services.close("valr_api", actor="ann")
    assert breaker("valr_api").call(str, 1) == "1"


def test_rows_that_were_read_first_are_not_put_in_place_last(monkeypatch):
    """Else a forced-open breaker would go on passing orders here until its next change."""
    current = process.current()
    circuit, real = current.circuit("valr_api"), process.on_own_connection
    slow, go = threading.Event(), threading.Event()

    def held_up(work):
        rows = real(work)
        if not slow.is_set():
            slow.set()
            go.wait(20)
        return rows

    monkeypatch.setattr(process, "on_own_connection", held_up)
    first = threading.Thread(target=current.hear, args=(1001,))
    first.start()
    assert slow.wait(20)
    CircuitBreaker.objects.filter(name="valr_api").update(mode="forced_open")
    second = threading.Thread(target=current.hear, args=(1002,))
    second.start()
    second.join(0.1)
    go.set()
    first.join(20)
    second.join(20)
    assert circuit.settings.mode == "forced_open"


def test_a_breaker_added_later_is_found_and_a_broken_row_is_left_out():
    breaker("llm_api").call(str, 1)
    services.create("news_api", {"failure_threshold": 1, "minimum_calls": 1}, actor="ann")
    assert breaker("news_api").call(str, 1) == "1"
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE circuit_breakers DROP CONSTRAINT circuit_breakers_window")
        cursor.execute("UPDATE circuit_breakers SET window_calls = 1 WHERE name = 'llm_api'")
        process.forget()
        assert process.current().circuit("llm_api").settings.config.window_calls == 10  # as shipped
        cursor.execute("UPDATE circuit_breakers SET window_calls = 10 WHERE name = 'llm_api'")
        cursor.execute(
            "ALTER TABLE circuit_breakers ADD CONSTRAINT circuit_breakers_window "
            "CHECK ((window_calls = 0 AND window_s > 0) OR "
            "(window_calls >= failure_threshold AND window_calls >= minimum_calls))"
        )
