"""What a role of workers was set to, by itself, stops none of them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg2
import pytest

from tests.support import warm
from tests.support.harness import copies, dsn, run_sql

SETTINGS = (
    *("statement_timeout = 1", "transaction_timeout = 1", "lock_timeout = 1", "search_path = pg_temp"),
    *("default_transaction_read_only = on", "exit_on_error = on", "local_preload_libraries = 'none'"),
    *("synchronous_commit = off", "transaction_read_only = on", "extra_float_digits = -15"),
)
TAKES_BACK = """
import os
import django; django.setup()
from helios.db import roles
roles.ROLES = (os.environ["ROLE"],)
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT 0.1::float8 + 0.2::float8")
    assert cursor.fetchone() == (0.1 + 0.2,)
roles.take_back_settings()
"""


@pytest.fixture
def database(template: str) -> Iterator[str]:
    yield from copies(template)


def test_what_a_role_was_set_to_stops_no_worker_and_is_taken_back(database: str) -> None:
    role = f"poisoned_{uuid.uuid4().hex}"
    run_sql(database, f"CREATE ROLE {role} LOGIN")
    try:
        for where in ("", f" IN DATABASE {urlsplit(database).path[1:]}"):
            for setting in SETTINGS:
                run_sql(database, f"ALTER ROLE {role}{where} SET {setting}")
        url = database.replace("//postgres@", f"//{role}@")
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(dsn(url))
        done = warm.run(["-c", TAKES_BACK], env={**os.environ, "HELIOS_DATABASE_URL": url, "ROLE": role}, timeout_s=300)
        assert done.returncode == 0, done.stderr
        left = run_sql(database, "SELECT setconfig FROM pg_db_role_setting WHERE setrole = %s::regrole", [role])
        assert left == [(["transaction_read_only=on"],)] * 2  # which PostgreSQL does not reset, and does nothing there
    finally:
        run_sql(database, f"DROP ROLE {role}")
