"""The migrations of breakers and modules go back and forth on a real database."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from helios.breakers.catalog import SHIPPED
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent
from helios.modules.catalog import STAGES
from helios.modules.models import Module

OLD_ROW = """
INSERT INTO circuit_breakers (name, description, failure_threshold, minimum_calls, window_calls, open_s,
    half_open_permits, permit_s, order_path, forced_open, last_state, created_at, updated_at)
VALUES (%s, '', 5, 5, 10, 60, 1, 60, false, false, 'CLOSED', now(), now())
"""
pytestmark = pytest.mark.django_db(transaction=True)


def migrate(targets: list[tuple[str, str | None]]) -> None:
    MigrationExecutor(connection).migrate(targets)


def latest() -> list[tuple[str, str | None]]:
    graph = MigrationExecutor(connection).loader.graph
    return [node for node in graph.leaf_nodes() if node[0] in {"breakers", "modules"}]


def tables() -> set[str]:
    wanted = {"circuit_breakers", "circuit_breaker_events", "modules"}
    return wanted & set(connection.introspection.table_names())


def test_everything_goes_away_and_comes_back_with_its_rows():
    try:
        migrate([("breakers", None), ("modules", None)])
        assert tables() == set()
    finally:
        migrate(latest())
    assert tables() == {"circuit_breakers", "circuit_breaker_events", "modules"}
    assert set(CircuitBreaker.objects.values_list("name", flat=True)) == set(SHIPPED)
    assert list(Module.objects.values_list("name", "state")) == [(stage, "ACTIVE") for stage in STAGES]


def test_reversing_the_data_alone_takes_exactly_the_shipped_rows():
    migrate([("breakers", "0002_append_only"), ("modules", "0001_tables")])
    try:
        with connection.cursor() as cursor:
            cursor.execute(OLD_ROW, ["news_api"])
            cursor.execute("SELECT name FROM circuit_breakers")
            assert cursor.fetchall() == [("news_api",)]
        assert not Module.objects.exists()
    finally:
        migrate(latest())
    assert CircuitBreaker.objects.count() == len(SHIPPED) + 1


def test_a_forced_opening_stays_one_back_and_forth():
    CircuitBreaker.objects.create(name="news_api", mode="forced_open", last_state="FORCED_OPEN")
    migrate([("breakers", "0003_shipped_breakers")])
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM circuit_breakers WHERE forced_open")
            assert cursor.fetchall() == [("news_api",)]
    finally:
        migrate(latest())
    assert list(CircuitBreaker.objects.exclude(mode="normal").values_list("name", "mode")) == [
        ("news_api", "forced_open")
    ]


def test_what_older_code_cannot_express_becomes_the_nearest_it_can():
    made = {"failure_threshold": 0, "failure_rate": 0.5, "minimum_calls": 7, "window_calls": 0, "window_s": 60}
    CircuitBreaker.objects.create(name="news_api", mode="metrics_only", last_state="METRICS_ONLY", **made)
    CircuitBreakerEvent.objects.create(
        ts=timezone.now(), breaker_id="news_api", before="CLOSED", after="METRICS_ONLY", action="metrics_only"
    )
    migrate([("breakers", "0003_shipped_breakers")])
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT failure_threshold, window_calls, forced_open, last_state FROM circuit_breakers "
                "WHERE name = 'news_api'"
            )
            assert cursor.fetchone() == (7, 7, False, "CLOSED")
            cursor.execute("SELECT before, after FROM circuit_breaker_events WHERE name = 'news_api'")
            assert cursor.fetchall() == [("CLOSED", "CLOSED")]
    finally:
        migrate(latest())
    assert CircuitBreaker.objects.get(name="news_api").settings().config.failure_threshold == 7
