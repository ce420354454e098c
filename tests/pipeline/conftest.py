"""A desk: the sample data, a trained model, and real processes around a database of the test's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.harness import Stack, database_url, dsn, run_sql

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
DAILY = "AAPL,GOOG,IBM,MSFT"


def _clone(template: str) -> tuple[str, str]:
    name = f"helios_{_WORKER}_{uuid.uuid4().hex[:10]}"
    admin = database_url(os.environ["HELIOS_DATABASE_URL"], "postgres")
    run_sql(admin, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return name, database_url(os.environ["HELIOS_DATABASE_URL"], name)


def _drop(name: str) -> None:
    admin = database_url(os.environ["HELIOS_DATABASE_URL"], "postgres")
    run_sql(admin, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def modules_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stacks of one session lay out their modules: what numba compiled for one serves the next."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(scope="session")
def trained(django_db_setup: None, modules_dir: Path) -> Iterator[str]:
    """Name of a database with the sample data and a model for 1d and for 1m; its weights lie beside it."""
    name, url = _clone(f"helios_template_{_WORKER}")
    maker = Stack(url)
    maker.environ["HELIOS_MODULES_DIR"] = str(modules_dir)
    maker.manage("import_data", "--sample")
    maker.manage("train", "--symbols", DAILY, "--timeframe", "1d", "--seed", "7")
    maker.manage("train", "--symbols", "SPY", "--timeframe", "1m", "--timerange", "20180102-20180209", "--seed", "7")
    yield name
    maker.close()
    _drop(name)


@pytest.fixture
def desk(trained: str, modules_dir: Path) -> Iterator[Stack]:
    """A stack on a copy of the trained database; a cycle counts as stalled after a second."""
    name, url = _clone(trained)
    stack = Stack(url)
    stack.environ |= {"HELIOS_STALLED_CYCLE_S": "1.0", "HELIOS_MODULES_DIR": str(modules_dir)}
    yield stack
    stack.close()
    _drop(name)


GATE = 4711  # an advisory lock that the test holds while a worker waits behind it


class Gate:
    """Holds workers inside their transaction: a row that meets the condition is not inserted before the gate opens."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._table = ""

    def close(self, table: str, condition: str) -> None:
        """Stop the next insert into a table that meets the condition."""
        self._cursor.execute(f"SELECT pg_advisory_lock({GATE})")
        self._cursor.execute(
            f"CREATE TRIGGER gate BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION gate()"
        )
        self._table = table

    def reached(self) -> bool:
        """Whether somebody waits."""
        self._cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", [GATE]
        )
        return bool(self._cursor.fetchone()[0] > 0)

    def open(self) -> None:
        """Break the connections that wait, and let everybody else go on."""
        self._cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted",
            [GATE],
        )
        self.release()

    def release(self) -> None:
        """Let those that wait go on as if nothing had been."""
        self._cursor.execute(f"SELECT pg_advisory_unlock({GATE})")
        self._cursor.execute(f"DROP TRIGGER gate ON {self._table}")


@pytest.fixture
def gate(desk: Stack) -> Iterator[Gate]:
    """A gate in the desk's database."""
    connection = psycopg2.connect(dsn(desk.database))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(
        "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NEW; END $$"
    )
    yield Gate(cursor)
    connection.close()
