"""Who may write which tables: the roles under which processes speak to PostgreSQL, and what each is kept from.

The owner migrates, and serves the web and commands. Workers run modules, so theirs can change no flag, no account, no
token, no schedule, no migration and nothing that says which code was approved; of books, slots, versions and breakers
they write the columns that their tasks write, and put only the version before back in charge of a slot. They do trade:
orders, fills, cash and the state of any book are theirs to write. Granted anew after each `migrate`, to those roles
that the server has: the embedded one makes them; for another server docs/security.md has the statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from helios.stack.endpoints import MAINTENANCE, WORKER

_ACCOUNTS: Final = (
    *("auth_user", "auth_group", "auth_permission", "auth_user_groups", "auth_user_user_permissions"),
    *("auth_group_permissions", "api_tokens", "django_session", "django_admin_log"),
    *("axes_accessattempt", "axes_accessattemptexpiration", "axes_accessfailurelog", "axes_accesslog"),
)
_DECIDED_BY_PEOPLE: Final = (
    *("feature_flags", "feature_flag_history", "flag_segments", "flag_segment_history"),
    *("django_migrations", "django_content_type"),
)
_APPROVALS: Final = ("module_code", "module_test_runs", "module_jobs")
_SCHEDULES: Final = (
    *("django_celery_beat_periodictask", "django_celery_beat_periodictasks", "django_celery_beat_clockedschedule"),
    *("django_celery_beat_crontabschedule", "django_celery_beat_intervalschedule", "django_celery_beat_solarschedule"),
)
_OF_MAINTENANCE: Final = ("sentinel_findings", "sentinel_audit_runs", "sentinel_heartbeats", "ml_models", "instruments")
_RESULTS: Final = (
    *("django_celery_results_taskresult", "django_celery_results_groupresult", "django_celery_results_chordcounter"),
)
_WORKED_ON: Final = {  # columns of rows that are there
    "portfolio_state": ("active", "cash", "peak_equity", "state", "held_by_person", "updated_at"),
    "modules": (
        *("path", "version", "dependencies", "state", "error", "active_id", "previous_id", "watch_id", "generation"),
        *("reload_error", "reload_digest", "loaded_at", "updated_at"),
    ),
    "module_versions": ("state", "error", "loaded_at", "updated_at"),
    "circuit_breakers": ("last_state", "last_state_at"),
}
_APPEND_ONLY: Final = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE '%%\\_no\\_change'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Every table may be read and written, but for these.

    `columns`: what may be changed where nothing else may be. `emptied`: where alone rows may be removed; None:
    everywhere.
    """

    hidden: tuple[str, ...]
    read_only: tuple[str, ...]
    emptied: tuple[str, ...] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ACCESS: Final = {
    WORKER: Access(
        hidden=(*_ACCOUNTS, "api_idempotency_keys"),
        read_only=(*_DECIDED_BY_PEOPLE, *_APPROVALS, *_SCHEDULES, *_OF_MAINTENANCE),
        emptied=("engineered_features", "module_processes", *_RESULTS),
        columns=_WORKED_ON,
    ),
    MAINTENANCE: Access(hidden=_ACCOUNTS, read_only=_DECIDED_BY_PEOPLE),
}


def grant(**_: Any) -> None:
    """Give each role of ours that the server has what it may do, as the tables are now."""
    from django.db import connection  # noqa: PLC0415 - the settings name the roles

    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(ACCESS)])
        known = [role for (role,) in cursor.fetchall()]
        tables = set(connection.introspection.table_names(cursor))
        cursor.execute(_APPEND_ONLY)
        only_added_to = {table for (table,) in cursor.fetchall()}
        for role in known:
            for statement in statements(role, tables, only_added_to):
                cursor.execute(statement)


def statements(role: str, tables: set[str], only_added_to: set[str]) -> Iterator[str]:
    """The SQL that gives one role its access to these tables."""
    access = ACCESS[role]
    yield f"GRANT USAGE ON SCHEMA public TO {role}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    yield f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}"
    if access.emptied is not None:
        yield f"REVOKE DELETE ON ALL TABLES IN SCHEMA public FROM {role}"
        for table in sorted(tables & {*access.emptied}):
            yield f"GRANT DELETE ON {table} TO {role}"
    for table in sorted(only_added_to):  # their triggers would yield to a setting that anybody can make
        yield f"REVOKE UPDATE, DELETE ON {table} FROM {role}"
    for table in sorted(tables & {*access.hidden, *access.read_only, *access.columns}):
        yield f"REVOKE ALL ON {table} FROM {role}"
    for table in sorted(tables & {*access.read_only, *access.columns}):
        yield f"GRANT SELECT ON {table} TO {role}"
    for table in sorted(tables & {*access.columns}):
        yield f"GRANT UPDATE ({', '.join(access.columns[table])}) ON {table} TO {role}"
