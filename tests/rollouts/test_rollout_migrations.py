"""The migrations go back and forth on a real database."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = pytest.mark.django_db(transaction=True)
TABLES = {"rollouts", "rollout_analyses", "rollout_history", "rollout_decisions"}


def migrate(target: str | None) -> None:
    MigrationExecutor(connection).migrate([("rollouts", target)])


def test_the_tables_go_and_come_back() -> None:
    latest = next(name for app, name in MigrationExecutor(connection).loader.graph.leaf_nodes() if app == "rollouts")
    try:
        migrate(None)
        assert TABLES.isdisjoint(connection.introspection.table_names())
    finally:
        migrate(latest)
    assert set(connection.introspection.table_names()) >= TABLES
