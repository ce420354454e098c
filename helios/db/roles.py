"""Who may write which tables: the roles under which processes speak to PostgreSQL, and what each is kept from.

The owner migrates, and serves the web and commands. Workers run modules, so theirs can change no flag, no account, no
token, no migration and nothing that says which code was approved. Granted anew after each `migrate`, to those roles
that the server has: the embedded one makes them; for another server docs/security.md has the statements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Every table may be read and written, but for these."""

    hidden: tuple[str, ...]
    read_only: tuple[str, ...]


ACCESS: Final = {
    WORKER: Access(hidden=(*_ACCOUNTS, "api_idempotency_keys"), read_only=(*_DECIDED_BY_PEOPLE, *_APPROVALS)),
    MAINTENANCE: Access(hidden=_ACCOUNTS, read_only=_DECIDED_BY_PEOPLE),
}


def grant(**_: Any) -> None:
    """Give each role of ours that the server has what it may do, as the tables are now."""
    from django.db import connection  # noqa: PLC0415 - the settings name the roles

    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(ACCESS)])
        known = [role for (role,) in cursor.fetchall()]
        tables = set(connection.introspection.table_names(cursor))
        for role in known:
            for statement in statements(role, tables):
                cursor.execute(statement)


def statements(role: str, tables: set[str]) -> Iterator[str]:
    """The SQL that gives one role its access to these tables."""
    access = ACCESS[role]
    yield f"GRANT USAGE ON SCHEMA public TO {role}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    yield f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}"
    for table in sorted(tables & {*access.hidden, *access.read_only}):
        yield f"REVOKE ALL ON {table} FROM {role}"
    for table in sorted(tables & {*access.read_only}):
        yield f"GRANT SELECT ON {table} TO {role}"
