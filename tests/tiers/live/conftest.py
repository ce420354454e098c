"""A gate in front of which workers wait."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from tests.support.harness import Stack, dsn
from tests.support.venues.sessions import idle_session
from tiers.live.feed.session import Session

GATE = 4711  # an advisory lock that the test holds while a worker waits behind it
# The view shows the whole server, where other tests may hold other databases up.
WAITING = (
    f"pg_locks WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


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
        self._cursor.execute(f"SELECT count(*) FROM {WAITING}")
        return bool(self._cursor.fetchone()[0] > 0)

    def open(self) -> None:
        """Break the connections that wait, and let everybody else go on."""
        self._cursor.execute(f"SELECT pg_terminate_backend(pid) FROM {WAITING}")
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
    cursor.execute("SELECT pg_advisory_unlock_all()")
    cursor.execute("DROP FUNCTION gate CASCADE")  # and with it a trigger that a failed test has left
    connection.close()


@pytest.fixture
def session() -> Iterator[Session]:
    """A session of one pair that hears the stand-in."""
    with idle_session() as made:
        yield made
