"""The migrations of breakers and modules go back and forth on a real database."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from helios.breakers.catalog import SHIPPED
from helios.breakers.models import CircuitBreaker
from helios.modules.catalog import STAGES
from helios.modules.models import Module

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
        CircuitBreaker.objects.create(name="news_api")
        assert list(CircuitBreaker.objects.values_list("name", flat=True)) == ["news_api"]
        assert not Module.objects.exists()
    finally:
        migrate(latest())
    assert CircuitBreaker.objects.count() == len(SHIPPED) + 1
