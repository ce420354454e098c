"""Who may do what with which table: the roles under which processes speak to PostgreSQL.

The owner migrates, and serves the web and commands. Workers run modules, so of what is decided elsewhere theirs writes
the columns that its tasks write, and triggers (the migrations `moves_of_workers`) keep it to the moves that they make:
back to the version before, a rollout paused or rolled back, a book more careful. They do trade: orders, fills and the
cash of any book are theirs to write. Granted anew after each `migrate`, to those roles that the server has: the
embedded one makes them; for another server docs/security.md has the statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from loguru import logger

from helios.db import lengths
from helios.db.locks import hold
from helios.errors import error_text
from helios.stack.endpoints import MAINTENANCE, WORKER

HIDDEN: Final = ""
READ: Final = "SELECT"
FORGET: Final = "SELECT, DELETE"
CHANGE: Final = "SELECT, UPDATE"
ADD: Final = "SELECT, INSERT"
WRITE: Final = "SELECT, INSERT, UPDATE"
OWN: Final = "SELECT, INSERT, DELETE, UPDATE"
ROLES: Final = (WORKER, MAINTENANCE)

_BOOK: Final = "active, cash, peak_equity, state, held_by_person, updated_at"
_SLOT: Final = (
    "path, version, dependencies, state, error, active_id, previous_id, watch_id, generation, loaded_at, updated_at"
)
_ROLLOUT: Final = (
    "state, step, cause, n_inconclusive, n_errors, reason, version, started_at, measured_since, next_analysis_at, "
    "ended_at, updated_at"
)
_SWAP: Final = "state, error, finished_at, watch_seen, watch_failed"
_BREAKER: Final = "last_state, last_state_at"
_CYCLE: Final = "status, stage, reason, ledger_hash, progressed_at, finished_at, asked_at, tries, redriven"
_PROCESS: Final = "generation, prepared, loaded, calling, seen_at"
_TABLES: Final = (  # what a worker may, what the worker of maintenance may, and the tables
    (HIDDEN, HIDDEN, "auth_user auth_group auth_permission auth_user_groups auth_user_user_permissions"),
    (HIDDEN, HIDDEN, "auth_group_permissions api_tokens django_session django_admin_log"),
    (HIDDEN, HIDDEN, "axes_accessattempt axes_accessattemptexpiration axes_accessfailurelog axes_accesslog"),
    (HIDDEN, FORGET, "api_idempotency_keys"),
    (READ, READ, "django_migrations django_content_type"),
    (READ, READ, "feature_flags feature_flag_history flag_segments flag_segment_history"),
    (READ, READ, "django_celery_beat_periodictask django_celery_beat_periodictasks"),
    (READ, READ, "django_celery_beat_clockedschedule django_celery_beat_crontabschedule"),
    (READ, READ, "django_celery_beat_intervalschedule django_celery_beat_solarschedule"),
    (WRITE, FORGET, "django_celery_results_taskresult"),
    (READ, FORGET, "django_celery_results_groupresult django_celery_results_chordcounter"),
    (f"{CHANGE} (value, token)", WRITE, "control_generations"),
    (ADD, ADD, "system_events circuit_breaker_events"),
    ("SELECT, INSERT, DELETE, UPDATE (body, fault, state, updated_at)", READ, "bus_poison"),
    (f"{CHANGE} ({_BREAKER})", f"{CHANGE} ({_BREAKER})", "circuit_breakers"),
    (f"{CHANGE} ({_SLOT})", WRITE, "modules"),
    (f"{CHANGE} (state, error, loaded_at, updated_at)", WRITE, "module_versions"),
    (f"{WRITE} ({_SWAP})", WRITE, "module_swaps"),
    (READ, ADD, "module_code module_test_runs"),
    (READ, CHANGE, "module_jobs"),
    (f"SELECT, INSERT, DELETE, UPDATE ({_PROCESS})", OWN, "module_processes"),
    (f"{CHANGE} ({_ROLLOUT})", CHANGE, "rollouts"),
    (ADD, ADD, "rollout_analyses rollout_history"),
    (ADD, READ, "rollout_decisions"),
    (READ, OWN, "sentinel_findings sentinel_audit_runs sentinel_heartbeats"),
    (READ, READ, "ml_models balances market_trades orderbook_snapshots feed_coverage market_gaps corporate_actions"),
    (READ, READ, "v_active_positions v_portfolio_performance v_ml_accuracy"),
    (f"{CHANGE} ({_BOOK})", f"{CHANGE} ({_BOOK}, strategy)", "portfolio_state"),
    (f"{CHANGE} (bars_token)", READ, "instruments"),
    (WRITE, READ, "market_ohlc"),
    (ADD, READ, "bar_corrections"),
    (OWN, READ, "engineered_features"),
    (CHANGE, CHANGE, "positions"),
    (f"{WRITE} ({_CYCLE}, modules)", f"{CHANGE} ({_CYCLE})", "pipeline_cycles"),
    (WRITE, WRITE, "orders paper_orders"),
    (
        ADD,
        ADD,
        "trade_executions booked_actions trading_mode_history decision_ledger pipeline_stage_runs portfolio_snapshots",
    ),
    (ADD, ADD, "ml_predictions volatility_forecasts aether_risk_decisions market_context_snapshots"),
    (ADD, ADD, "llm_strategic_decisions rebalancing_events"),
)
# A table in `pg_temp`, which anybody may make, would else hide the one that a trigger against workers asks.
_SEARCH: Final = """
DO $$
DECLARE each regprocedure;
BEGIN
    FOR each IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner = current_user::regrole
            AND prorettype = 'trigger'::regtype
            AND NOT EXISTS (SELECT FROM unnest(proconfig) AS set WHERE set LIKE 'search_path=%')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, public, pg_temp', each);
    END LOOP;
END $$
"""
# A moment that Python cannot hold would keep everybody from reading its row: who halts a book reads it. What is there
# already is not looked through. A table gets the constraint anew when a column of that type comes to it.
_MOMENTS: Final = """
DO $$
DECLARE each record;
BEGIN
    FOR each IN
        SELECT c.oid::regclass AS named, string_agg(
            format('%I BETWEEN %L AND %L', attname, '0001-01-02Z', '9999-12-30Z'), ' AND ' ORDER BY attnum
        ) AS held
        FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND relowner = current_user::regrole AND atttypid = 'timestamptz'::regtype AND NOT attisdropped
        GROUP BY c.oid
        HAVING NOT EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = c.oid AND conname = 'moments' AND cardinality(conkey) = count(a.attnum)
        )
    LOOP
        EXECUTE format(
            'ALTER TABLE %s DROP CONSTRAINT IF EXISTS moments, ADD CONSTRAINT moments CHECK (%s) NOT VALID',
            each.named, each.held
        );
    END LOOP;
END $$
"""
# Tables and views with their columns, but for numbers that the database gives: a row that took one keeps others out.
_COLUMNS: Final = """
SELECT relname, string_agg(quote_ident(attname), ', ') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
    AND attnum > 0 AND NOT attisdropped AND attidentity = ''
GROUP BY relname
"""
_OF_ALL: Final = re.compile(r"(INSERT|UPDATE)(?! \()")
_NAMED: Final = re.compile(r"\(([^()]*)\)")
_OWN_SETTINGS: Final = """
SELECT split_part(setting, '=', 1), setdatabase <> 0
FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN unnest(setconfig) AS setting
WHERE r.rolname = current_user AND r.rolname = ANY(%s)
    AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
ACCESS: Final = {
    role: {table: access[place] for *access, tables in _TABLES for table in tables.split()}
    for place, role in enumerate(ROLES)
}


def grant(**_: Any) -> None:
    """Give each role of ours that the server has what it may do, as the tables and their triggers are now."""
    from django.db import connection, transaction  # noqa: PLC0415 - the settings name the roles

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_SEARCH)
        cursor.execute(_MOMENTS)
        cursor.execute("SELECT current_database(), has_database_privilege('public', current_database(), 'TEMPORARY')")
        database, anybody = cursor.fetchone()
        if anybody:  # a session may leave so many temporary tables and functions that others run out of locks behind it
            cursor.execute(f"REVOKE TEMPORARY ON DATABASE {connection.ops.quote_name(database)} FROM PUBLIC")
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(ROLES)])
        known = [role for (role,) in cursor.fetchall()]
        cursor.execute(_COLUMNS)
        columns = dict(cursor.fetchall())
        for role in known:
            for statement in statements(role, columns):
                cursor.execute(statement)
        if WORKER in known:
            lengths.bound(cursor)


def statements(role: str, columns: Mapping[str, str]) -> Iterator[str]:
    """The SQL that gives one role its access to those of its tables and their columns that are there, and to
    no other.

    `columns`: by table, what a role may write that may write all.
    """
    yield f"GRANT USAGE ON SCHEMA public TO {role}"
    yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role}"  # an identity column needs none
    yield f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}"
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"
    for table, access in ACCESS[role].items():
        if access and table in columns:
            yield f"GRANT {_limited(access, columns[table])} ON {table} TO {role}"


def _limited(access: str, columns: str) -> str:
    """The access to columns that there are: after a migration backwards they may be fewer than it names."""
    there = columns.split(", ")
    named = _NAMED.sub(lambda names: f"({', '.join(name for name in names[1].split(', ') if name in there)})", access)
    return _OF_ALL.sub(rf"\1 ({columns})", named)


def take_back_settings() -> None:
    """Reset what our own role was set to: any role may `ALTER ROLE` itself, and later connections would have it.

    One by one, for PostgreSQL refuses to reset some, as `transaction_read_only`, which do nothing there.
    """
    from django.db import DatabaseError, connection, transaction  # noqa: PLC0415 - the settings name the roles

    with transaction.atomic(), connection.cursor() as cursor:
        hold("settings of roles")
        cursor.execute(_OWN_SETTINGS, [list(ROLES)])
        database, quoted = connection.settings_dict["NAME"], connection.ops.quote_name
        for setting, of_database in cursor.fetchall():
            where = f"IN DATABASE {quoted(database)} " if of_database else ""
            try:
                with transaction.atomic():
                    cursor.execute(f"ALTER ROLE CURRENT_USER {where}RESET {quoted(setting)}")
            except DatabaseError as error:
                logger.bind(setting=setting, error=error_text(error)).warning("role.setting_left")
            else:
                logger.bind(setting=setting).warning("role.setting_taken_back")
