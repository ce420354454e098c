"""Roles of the database: what a worker's may write, and that nobody works as a superuser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest

from helios.db import roles
from helios.db.partitions import ensure_partitions
from helios.stack import endpoints
from tests.support.harness import copies, dsn, run_sql

Ask = Callable[[str, str], int]
MADE = """
INSERT INTO module_versions
    (module_id, version, label, path, code_id, dependencies, state, error, registered_by, created_at, updated_at)
SELECT module_id, version, made.label, path, code_id, dependencies, made.state, '', 'ann', now(), now()
FROM module_versions, (VALUES ('unloaded', 'UNLOADED'), ('loaded', 'LOADED'), ('before', 'LOADED')) made(label, state)
WHERE path = 'tiers.llm';
UPDATE modules SET previous_id = (SELECT id FROM module_versions WHERE label = 'before') WHERE name = 'llm';
INSERT INTO control_generations VALUES ('flags', 5, gen_random_uuid()), ('modules', 5, gen_random_uuid())
    ON CONFLICT DO NOTHING;
INSERT INTO portfolio_state
    (name, mode, active, timeframe, symbols, feed, initial_cash, cash, peak_equity, state, held_by_person, fee_bps,
    slippage_bps, params, flag_overrides, model_name, strategy, created_at, updated_at)
VALUES ('held', 'paper', false, '1d', '{SPY}', 'table', 1, 1, 1, 'REDUCING', true, 0, 0, '{}', '{}', '', '{}', now(),
    now());
"""
SHADOW = """
CREATE TEMP TABLE modules AS SELECT m.id, m.active_id, v.id AS previous_id
FROM public.modules m JOIN public.module_versions v ON v.module_id = m.id WHERE v.label = 'loaded'
"""
AT_ONCE = "SET CONSTRAINTS ALL IMMEDIATE"
BACK = f"""
UPDATE module_versions SET state = 'FAILED', error = 'x' WHERE state = 'ACTIVE' AND path = 'tiers.llm';
UPDATE module_versions SET state = 'ACTIVE' WHERE label = 'before';
UPDATE modules m SET active_id = v.id, previous_id = NULL, loaded_at = v.loaded_at
FROM module_versions v WHERE v.id = previous_id;
{AT_ONCE}
"""
MOVED = "version = version + 1, next_analysis_at = NULL WHERE state = 'RUNNING'"
RESULT = """
INSERT INTO django_celery_results_taskresult
    (task_id, status, content_type, content_encoding, result, date_created, date_done)
VALUES ('a', 'SUCCESS', '', '', '0', now(), now())
"""
MOVED_BREAKER = """
INSERT INTO circuit_breaker_events (ts, name, before, after, reason, actor, action, shared, enforced, changes)
VALUES (now(), 'llm_api', 'CLOSED', 'OPEN', '', 'x', '{}', true, true, '{}')
"""


def swap(kind: str, state: str, to: str) -> str:
    """Have the slot llm swapped to a version."""
    return f"""
        INSERT INTO module_swaps
            (kind, state, module_id, from_version_id, to_version_id, actor, reason, error, owner, expires_at, processes,
            watch_calls, watch_seen, watch_failed, started_at)
        SELECT '{kind}', '{state}', m.id, m.active_id, v.id, 'x', '', '', '', now(), 0, 0, 0, 0, now()
        FROM modules m JOIN module_versions v ON v.module_id = m.id WHERE v.label = '{to}'
    """


def rollout(state: str) -> str:
    """Have a version challenge the slot llm."""
    return f"""
        INSERT INTO rollouts
            (name, description, kind, target, champion, challenger, params, books, steps, guards, inconclusive_limit,
            error_limit, state, step, n_inconclusive, n_errors, cause, reason, version, actor, created_at, updated_at,
            measured_since, next_analysis_at, started_at)
        VALUES ('zz-{state}', '', 'module', 'llm-{state}', 'x', 'unloaded', '{{}}', '{{}}', '[]', '[]', 3, 3, '{state}',
            0, 0, 0, 'person', 'x', 0, 'x', now(), now(), now(), now(), {"NULL" if state == "PENDING" else "now()"})
    """


def process(seen_at: str, *, prepared: str = "{}", calling: str = "NULL") -> str:
    """Write a process down."""
    return f"""
        INSERT INTO module_processes
            (id, host, pid, component, generation, prepared, loaded, calling, started_at, seen_at)
        VALUES (gen_random_uuid(), 'h', 1, 'worker', 0, '{prepared}', '{{}}', {calling}, now(), {seen_at})
    """


def cycle(mode: str, status: str, finished_at: str, *, pins: str = "{}", rollout: str = "RUNNING") -> str:
    """Have a cycle of a book that is pinned to a rollout."""
    return f"""
        INSERT INTO pipeline_cycles
            (book_id, timeframe, bar_ts, shard, mode, status, stage, reason, switches, modules, rollouts, ledger_hash,
            finished_at, redriven)
        SELECT b.id, '1d', '2024-01-02Z', 0, '{mode}', '{status}', 'predict', '', '{{}}', '{pins}', jsonb_build_array(
                jsonb_build_object('rollout_id', r.id, 'step', 0) || jsonb_build_object('kind', r.kind)
                || jsonb_build_object('target', r.target, 'challenger', r.challenger)
            ), '', {finished_at}, 0
        FROM portfolio_state b, rollouts r WHERE r.name = 'zz-{rollout}'
    """


def decision(of: str, *, step: int = 0, rollout_id: str = "id") -> str:
    """Record what an arm decided in that cycle."""
    return f"""
        INSERT INTO rollout_decisions
            (rollout_id, step, arm, shadow, cycle_id, bar_ts, symbol, value, error, recorded_at)
        SELECT r.{rollout_id}, {step}, 'champion', true, c.id, c.bar_ts, 'SPY', '{{}}', '', now()
        FROM pipeline_cycles c, rollouts r WHERE c.mode = '{of}' AND r.name = 'zz-RUNNING'
    """


@pytest.fixture(scope="module")
def ask(database: str) -> Iterator[Ask]:
    """Run a statement under a role, and take it back; the number of its rows."""
    held: dict[str, psycopg2.extensions.connection] = {}

    def run(role: str, statement: str) -> int:
        if role not in held:
            held[role] = psycopg2.connect(dsn(database.replace("//postgres@", f"//{role}@")))
        try:
            with held[role].cursor() as cursor:
                cursor.execute(statement)
                return cursor.rowcount
        finally:
            held[role].rollback()

    yield run
    for each in held.values():
        each.close()


@pytest.fixture(scope="module")
def database(template: str) -> Iterator[str]:
    for url in copies(template):
        rows = (MADE, swap("swap", "SWITCHED", "loaded"), rollout("RUNNING"), rollout("PENDING"), process("now()"))
        run_sql(url, ";".join((*rows, cycle("paper", "RUNNING", "NULL"), cycle("replay", "DONE", "now()"), RESULT)))
        yield url


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
        "UPDATE modules SET previous_id = NULL",
        "UPDATE modules SET active_id = previous_id, previous_id = NULL",
        "UPDATE modules SET active_id = NULL",
        "UPDATE modules SET watch_id = (SELECT max(id) FROM module_swaps)",
        "UPDATE modules SET state = 'UNLOADED'",
        "UPDATE modules SET path = 'x'",
        "UPDATE modules SET reload_digest = '', reload_error = ''",
        f"UPDATE module_versions SET state = 'FAILED', error = 'x' WHERE state = 'ACTIVE'; {AT_ONCE}",
        "UPDATE module_versions SET state = 'FAILED', error = 'x' WHERE state = 'UNLOADED'",
        "UPDATE module_versions SET state = 'LOADED' WHERE state = 'UNLOADED'",
        "UPDATE module_versions SET state = 'ACTIVE' WHERE label = 'loaded'",
        swap("swap", "PREPARING", "loaded"),
        swap("swap", "COMPLETED", "before"),
        swap("rollback", "PREPARING", "before"),
        swap("rollback", "COMPLETED", "loaded"),
        "UPDATE module_swaps SET state = 'PREPARING'",
        "UPDATE module_swaps SET to_version_id = 1",
        "UPDATE module_swaps SET watch_calls = 0",
        "UPDATE module_jobs SET state = 'SUCCEEDED'",
        rollout("PROMOTING"),
        "UPDATE rollouts SET challenger = 'x'",
        "UPDATE rollouts SET champion = 'x', steps = '[]', guards = '[]', target = 'x', error_limit = 9",
        "UPDATE rollouts SET state = 'PROMOTING'",
        "UPDATE rollouts SET state = 'RUNNING' WHERE state = 'PENDING'",
        "UPDATE rollouts SET state = 'PAUSED' WHERE state = 'PENDING'",
        "UPDATE rollouts SET state = 'SUCCEEDED', ended_at = now()",
        "UPDATE rollouts SET step = 1",
        "UPDATE rollouts SET next_analysis_at = '2999-01-01', reason = 'all is well'",
        "UPDATE rollouts SET state = 'PAUSED', next_analysis_at = NULL, version = 2147483647 WHERE state = 'RUNNING'",
        "UPDATE rollouts SET measured_since = now() + interval '1 day'",
        "UPDATE control_generations SET value = value - 1",
        "UPDATE control_generations SET value = value + 2 WHERE subject = 'modules'",
        "UPDATE control_generations SET token = token",
        "INSERT INTO control_generations SELECT * FROM control_generations WHERE false",
        f"{SHADOW}; UPDATE public.module_versions SET state = 'ACTIVE' WHERE label = 'loaded'",
        f"{SHADOW}; {swap('rollback', 'COMPLETED', 'loaded')}",
        "UPDATE portfolio_state SET state = 'ACTIVE'",
        "UPDATE portfolio_state SET held_by_person = false",
        "UPDATE portfolio_state SET active = true",
        "UPDATE instruments SET quantity_step = 1",
        "INSERT INTO balances SELECT * FROM balances WHERE false",
        "UPDATE portfolio_state SET mode = 'live'",
        "UPDATE portfolio_state SET params = '{}', flag_overrides = '{\"auto_trading\": true}'",
        "DELETE FROM portfolio_state",
        "DELETE FROM orders",
        "DELETE FROM positions",
        "DELETE FROM market_ohlc",
        "UPDATE circuit_breakers SET failure_threshold = 1000",
        "UPDATE circuit_breakers SET last_state = 'FORCED_OPEN'",
        "UPDATE circuit_breakers SET last_state = 'OPEN', last_state_at = now() + interval '1 day'",
        "UPDATE django_celery_beat_periodictask SET enabled = false",
        "DELETE FROM sentinel_findings",
        "UPDATE ml_models SET role = 'champion'",
        process("now() + interval '1 day'"),
        process("now()", prepared='{"1": ""}'),
        process("now()", calling="1"),
        "UPDATE module_processes SET seen_at = now() + interval '1 day'",
        "UPDATE module_processes SET pid = 1, host = 'x'",
        decision("replay"),
        decision("paper", step=2),
        decision("paper", rollout_id="id + 1"),
        "UPDATE module_versions SET loaded_at = now()",
        'UPDATE pipeline_cycles SET modules = \'{"llm": "unloaded"}\'',
        cycle("live", "RUNNING", "NULL", pins='{"llm": "unloaded"}'),
        cycle("live", "RUNNING", "NULL", rollout="PENDING"),
        "UPDATE pipeline_cycles SET rollouts = '[]'",
        "UPDATE pipeline_cycles SET switches = '{}', bar_ts = now()",
        "UPDATE django_celery_results_taskresult SET result = '1'",
        "DELETE FROM django_celery_results_taskresult",
        MOVED_BREAKER.format("configure", "{}"),
        MOVED_BREAKER.format("transition", '{"a": 5}'),
    ],
)
def test_a_worker_makes_only_the_changes_that_its_tasks_make(ask: Ask, statement: str) -> None:
    with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedColumn)) as refused:
        ask(roles.WORKER, statement)
    assert refused.type is psycopg2.errors.InsufficientPrivilege


@pytest.mark.parametrize("prepared", ['["1"]', '{"1": 2}', '{"1": ["x"]}', '{"x": ""}', '{"1": "", "2": {}}', "1"])
def test_what_a_worker_answers_swaps_is_of_the_shape_that_others_read(ask: Ask, prepared: str) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        ask(roles.WORKER, f"UPDATE module_processes SET prepared = '{prepared}'")
    assert ask(roles.WORKER, """UPDATE module_processes SET prepared = '{"1": null, "2": "", "3": "no"}'""") == 1


def test_a_worker_holds_up_no_change_of_flags(ask: Ask) -> None:
    """Whoever may change a row may lock it, and so keep others from changing it."""
    for of, rows in (("modules", 1), ("flags", 0)):
        assert ask(roles.WORKER, f"SELECT FROM control_generations WHERE subject = '{of}' FOR UPDATE") == rows
        assert ask(roles.WORKER, f"UPDATE control_generations SET value = value + 1 WHERE subject = '{of}'") == rows


def test_no_function_asks_a_temporary_table_in_place_of_ours(database: str) -> None:
    unbound = "pronamespace = 'public'::regnamespace AND coalesce(proconfig::text, '') NOT LIKE '%search_path=%'"
    assert run_sql(database, f"SELECT proname FROM pg_proc WHERE {unbound}") == []


@pytest.mark.parametrize("role", roles.ACCESS)
@pytest.mark.parametrize("change", ["INSERT", "UPDATE"])
def test_no_worker_takes_a_number_that_a_row_of_somebody_else_would_get(database: str, role: str, change: str) -> None:
    """A halt, or the event of a flag that is killed, would not be written for it."""
    taken = f"attidentity <> '' AND has_column_privilege('{role}', attrelid, attnum, '{change}')"
    assert run_sql(database, f"SELECT attrelid::regclass::text FROM pg_attribute WHERE {taken}") == []


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
        "SELECT make_partition('market_trades'::regclass, 'market_trades_y1999m01', '1999-01-01Z', '1999-02-01Z')",
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
        BACK,
        "UPDATE module_versions SET state = 'LOADED' WHERE state = 'ACTIVE'",
        "UPDATE module_versions SET state = 'FAILED', error = 'x' WHERE state = 'ACTIVE'",
        swap("rollback", "COMPLETED", "before"),
        "UPDATE module_swaps SET state = 'ROLLED_BACK', error = 'x', watch_failed = 1",
        f"UPDATE rollouts SET state = 'ROLLED_BACK', reason = 'x', ended_at = now(), {MOVED}",
        f"UPDATE rollouts SET state = 'PAUSED', cause = 'person', {MOVED}",
        "UPDATE portfolio_state SET state = 'HALTED', cash = 1",
        "UPDATE control_generations SET value = value + 1 WHERE subject = 'modules'",
        "INSERT INTO system_events (kind) SELECT kind FROM system_events WHERE false",
        MOVED_BREAKER.format("transition", "{}"),
        process("now()"),
        'UPDATE module_processes SET seen_at = now(), calling = 1, prepared = \'{"1": ""}\'',
    ],
)
def test_a_worker_can_do_what_its_tasks_do(ask: Ask, role: str, statement: str) -> None:
    ask(role, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM engineered_features",
        "UPDATE instruments SET bars_token = gen_random_uuid()",
        "INSERT INTO market_ohlc SELECT * FROM market_ohlc WHERE false",
        "INSERT INTO bar_corrections (symbol, close) SELECT symbol, close FROM bar_corrections WHERE false",
        decision("paper"),
        cycle("live", "DONE", "now()", pins='{"llm": "before"}'),
        "UPDATE pipeline_cycles SET modules = '{\"llm\": \"before\"}' WHERE status = 'RUNNING'",
        RESULT.replace("'a'", "'b'"),
        "SELECT make_partition('market_ohlc'::regclass, 'market_ohlc_y1999', '1999-01-01Z', '2000-01-01Z')",
    ],
)
def test_only_the_worker_of_cycles_writes_what_cycles_make(ask: Ask, statement: str) -> None:
    ask(roles.WORKER, statement)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(roles.MAINTENANCE, statement)


@pytest.mark.parametrize("role", roles.ACCESS)
def test_every_table_is_decided_on(database: str, role: str) -> None:
    """A new one is out of reach for workers until `roles` says what each may do with it."""
    there = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'p', 'v') AND NOT relispartition"
    )
    assert roles.ACCESS[role].keys() == {table for (table,) in run_sql(database, there)}


def test_no_worker_uses_up_the_numbers_of_a_table(database: str) -> None:
    """`nextval` needs no row: those of failed logins and of changes of accounts would end for good."""
    usable = "has_sequence_privilege(role, c.oid, 'USAGE, SELECT, UPDATE')"
    found = f"SELECT relname FROM pg_class c, unnest(%s) role WHERE relkind = 'S' AND {usable}"
    assert run_sql(database, found, [list(roles.ROLES)]) == []
    short = "attidentity <> '' AND atttypid <> 'bigint'::regtype AND has_any_column_privilege(%s, attrelid, 'INSERT')"
    assert run_sql(database, f"SELECT attrelid::regclass FROM pg_attribute WHERE {short}", [roles.WORKER]) == []


def test_what_is_only_added_to_is_no_workers_to_change(database: str) -> None:
    """Its triggers would yield to a setting that anybody can make."""
    guarded = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%\\_no\\_change'"
    for (table,) in run_sql(database, f"{guarded} AND tgparentid = 0"):
        assert {access[table] for access in roles.ACCESS.values()} <= {roles.READ, roles.ADD}


@pytest.mark.django_db
def test_a_partition_of_another_name_or_table_is_not_made() -> None:
    first = datetime(1931, 1, 1, tzinfo=UTC)
    assert ensure_partitions("market_ohlc", "year", first, first) == ["market_ohlc_y1931"]


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
