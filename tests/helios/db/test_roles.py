"""Roles of the database: what a worker's may write, and that nobody works as a superuser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from django.apps import apps

from helios.db import roles
from helios.db.partitions import ensure_partitions
from helios.stack import endpoints
from tests.support.harness import copies, dsn, run_sql

Ask = Callable[[str, str], None]


@pytest.fixture(scope="module")
def ask(database: str) -> Iterator[Ask]:
    """Run a statement under a role, and take it back."""
    held: dict[str, psycopg2.extensions.connection] = {}

    def run(role: str, statement: str) -> None:
        if role not in held:
            held[role] = psycopg2.connect(dsn(database.replace("//postgres@", f"//{role}@")))
        try:
            with held[role].cursor() as cursor:
                cursor.execute(statement)
        finally:
            held[role].rollback()

    yield run
    for each in held.values():
        each.close()


@pytest.fixture(scope="module")
def database(template: str) -> Iterator[str]:
    yield from copies(template)


def test_an_audit_is_told_whose_tokens_end_and_no_stranger_is(database: str) -> None:
    asked = "SELECT * FROM api_tokens_that_hold()"
    assert run_sql(database.replace("//postgres@", f"//{roles.MAINTENANCE}@"), asked) == []
    granted = "SELECT has_function_privilege('public', 'api_tokens_that_hold()', 'EXECUTE')"
    assert run_sql(database, granted) == [(False,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE module_versions SET code_id = NULL",
        "UPDATE module_versions SET label = 'x', path = 'y'",
        "INSERT INTO module_versions SELECT * FROM module_versions WHERE false",
        "UPDATE modules SET hot_reloadable = true, watch_calls = 0",
        "UPDATE modules SET active_id = (SELECT max(id) FROM module_versions)",
        "UPDATE modules SET previous_id = (SELECT max(id) FROM module_versions)",
        "UPDATE portfolio_state SET mode = 'live'",
        "UPDATE portfolio_state SET params = '{}', flag_overrides = '{\"auto_trading\": true}'",
        "DELETE FROM portfolio_state",
        "DELETE FROM orders",
        "DELETE FROM positions",
        "DELETE FROM market_ohlc",
        "UPDATE circuit_breakers SET failure_threshold = 1000",
        "UPDATE django_celery_beat_periodictask SET enabled = false",
        "DELETE FROM sentinel_findings",
        "UPDATE ml_models SET role = 'champion'",
    ],
)
def test_a_worker_changes_only_the_columns_that_its_tasks_write(ask: Ask, statement: str) -> None:
    with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedColumn)) as refused:
        ask(roles.WORKER, statement)
    assert refused.type is psycopg2.errors.InsufficientPrivilege


KEPT_FROM_WORKERS = (
    *("feature_flags", "feature_flag_history", "flag_segments", "module_code", "module_test_runs", "module_jobs"),
    *("auth_user", "auth_user_groups", "api_tokens", "django_session", "django_migrations"),
)


@pytest.mark.parametrize("table", KEPT_FROM_WORKERS)
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE", "DROP TABLE {} CASCADE"])
def test_a_worker_changes_no_table_that_its_tasks_do_not_own(ask: Ask, table: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(roles.WORKER, statement.format(table))


@pytest.mark.parametrize("role", roles.ACCESS)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM auth_user",
        "SELECT * FROM api_tokens",
        "INSERT INTO auth_user_groups (user_id, group_id) VALUES (1, 1)",
        "UPDATE feature_flags SET enabled = true",
        "SET helios.maintenance = on; DELETE FROM decision_ledger",
        "SET helios.maintenance = on; UPDATE system_events SET data = '{}'",
        "DELETE FROM django_migrations",
        "CREATE TABLE planted (a int)",
        "ALTER TABLE orders DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "CREATE ROLE another SUPERUSER",
        "SET ROLE helios",
        "COPY orders TO PROGRAM 'true'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT make_partition('feature_flags'::regclass, 'feature_flags_y2030', now(), now() + interval '1 year')",
    ],
)
def test_no_worker_reads_accounts_changes_flags_or_gains_more(ask: Ask, role: str, statement: str) -> None:
    with pytest.raises(psycopg2.Error) as refused:
        ask(role, statement)
    assert "does not exist" not in str(refused.value).replace('role "another"', "")


@pytest.mark.parametrize("role", roles.ACCESS)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM feature_flags",
        "SELECT * FROM module_code",
        "DELETE FROM engineered_features",
        "UPDATE modules SET error = '', active_id = previous_id, previous_id = NULL",
        "UPDATE module_versions SET state = 'LOADED'",
        "UPDATE portfolio_state SET state = 'HALTED', cash = 1",
        "UPDATE control_generations SET value = value + 1",
        "INSERT INTO system_events SELECT * FROM system_events WHERE false",
        "SELECT make_partition('market_ohlc'::regclass, 'market_ohlc_y2031', '2031-01-01Z', '2032-01-01Z')",
    ],
)
def test_a_worker_can_do_what_its_tasks_do(ask: Ask, role: str, statement: str) -> None:
    ask(role, statement)


def test_every_table_that_is_named_is_there() -> None:
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)} | {"django_migrations"}
    named = {
        table
        for access in roles.ACCESS.values()
        for tables_of_it in (access.hidden, access.read_only, access.columns, access.emptied or ())
        for table in tables_of_it
    }
    assert named <= tables


@pytest.mark.django_db
def test_a_partition_of_another_name_or_table_is_not_made() -> None:
    first = datetime(2031, 1, 1, tzinfo=UTC)
    assert ensure_partitions("market_ohlc", "year", first, first) == ["market_ohlc_y2031"]


def test_a_component_speaks_as_its_role_to_the_embedded_server(tmp_path: Path) -> None:
    users = {
        component: endpoints.django_database(endpoints.embedded(tmp_path, component=component).database_url)["USER"]
        for component in ("", "web", "beat", "worker", "gpu", "maintenance")
    }
    assert users == {
        **dict.fromkeys(("", "web", "beat"), "helios"),
        **dict.fromkeys(("worker", "gpu"), "helios_worker"),
        "maintenance": "helios_maintenance",
    }


def test_nobody_who_works_is_a_superuser(database: str) -> None:
    for role in (endpoints.OWNER, *roles.ACCESS):
        (found,) = run_sql(
            database,
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = %s",
            [role],
        )
        assert found == (False, False, False, False)
