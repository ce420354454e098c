"""Nothing that a worker writes is longer than a page that shows it can bear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2
import pytest

from helios.db import lengths, roles
from tests.support.harness import copies, dsn

WRITTEN = """
SELECT relname, attname, format_type(atttypid, NULL), atttypmod, coalesce(held.checks, '{}')
FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid LEFT JOIN LATERAL (
    SELECT array_agg(conname::text) AS checks FROM pg_constraint WHERE conrelid = c.oid AND attnum = ANY(conkey)
) held ON true
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND attnum > 0 AND NOT attisdropped AND attlen = -1
    AND has_column_privilege(%s, c.oid, attnum, 'INSERT, UPDATE')
ORDER BY relname, attnum
"""
NUMBERS = """
SELECT relname, attname, format_type(atttypid, NULL) FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND attnum > 0
    AND (atttypid IN ('float8'::regtype, 'float8[]'::regtype) OR atttypid = 'numeric'::regtype AND atttypmod > 0)
    AND has_column_privilege(%s, c.oid, attnum, 'INSERT, UPDATE')
ORDER BY relname, attname
"""
OF_BYTES = {  # a value of about so many bytes
    "text": "repeat('z', {})",
    "jsonb": "jsonb_build_array(repeat('z', {} - 4))",
    "character varying[]": "ARRAY(SELECT repeat('z', 30) FROM generate_series(1, {} / 31))",
    "double precision[]": "ARRAY(SELECT 0.5 FROM generate_series(1, {} / 8))",
}
EMPTY = """
CREATE TABLE copied (LIKE {table} INCLUDING CONSTRAINTS);
DO $$
DECLARE each record;
BEGIN
    FOR each IN SELECT conname FROM pg_constraint
        WHERE conrelid = 'copied'::regclass AND conname NOT LIKE 'lengths%'
    LOOP
        EXECUTE format('ALTER TABLE copied DROP CONSTRAINT %I', each.conname);
    END LOOP;
    FOR each IN SELECT attname FROM pg_attribute WHERE attrelid = 'copied'::regclass AND attnum > 0 AND attnotnull LOOP
        EXECUTE format('ALTER TABLE copied ALTER %I DROP NOT NULL', each.attname);
    END LOOP;
END $$;
GRANT INSERT ON copied TO {role};
SET LOCAL ROLE {role}
"""


@pytest.fixture(scope="module")
def database(template: str) -> Iterator[psycopg2.extensions.connection]:
    for url in copies(template):
        with contextlib.closing(psycopg2.connect(dsn(url))) as connection:
            yield connection


def takes(database: psycopg2.extensions.connection, table: str, column: str, value: str) -> bool:
    """Whether a worker may write the value into a row of such a table of which it fills nothing else."""
    try:
        with database.cursor() as cursor:
            cursor.execute(EMPTY.format(table=table, role=roles.WORKER))
            cursor.execute(f'INSERT INTO copied ("{column}") VALUES ({value})')
    except psycopg2.errors.CheckViolation as error:
        return not str(error.diag.constraint_name).startswith("lengths_")
    finally:
        database.rollback()
    return True


def written(database: psycopg2.extensions.connection) -> list[tuple[str, str, str, int, list[str]]]:
    """Table, column, type, its bound and checks of all that a worker may write whose length no type fixes."""
    with database.cursor() as cursor:
        cursor.execute(WRITTEN, [roles.WORKER])
        return cursor.fetchall()


def test_every_column_of_a_worker_takes_so_much_and_no_more(database: psycopg2.extensions.connection) -> None:
    tried = set()
    for table, column, kind, most, checks in written(database):
        if kind == "character varying" and most > 0:
            continue
        if kind == "numeric":
            assert most > 0 or any(each.endswith("_finite") for each in checks), (table, column)
            continue
        long = column in lengths.LONG_COLUMNS.get(table, ())
        bound = lengths.LONG if long else lengths.SHORT
        assert takes(database, table, column, OF_BYTES[kind].format(bound)), (table, column)
        assert not takes(database, table, column, OF_BYTES[kind].format(bound + bound // 8)), (table, column)
        tried.add((table, column, long))
    named = {(table, column) for table, columns in lengths.LONG_COLUMNS.items() for column in columns}
    assert named == {(table, column) for table, column, long in tried if long}
    assert len(tried) > 40


def test_every_number_of_a_worker_is_one(database: psycopg2.extensions.connection) -> None:
    """JSON has no other: a row of it would keep everybody from the list that it stands in, and nobody may delete it."""
    with database.cursor() as cursor:
        cursor.execute(NUMBERS, [roles.WORKER])
        columns = cursor.fetchall()
    for table, column, kind in columns:
        array, missing = kind.endswith("[]"), column in lengths.MISSING.get(table, ())
        for value in ("0.5", "-1e3", "NaN", "Infinity", "-Infinity"):
            fits = missing or value[-1].isdigit()
            written = f"'{{0.5,{value}}}'" if array else f"'{value}'"
            if kind == "numeric" and value.endswith("Infinity"):
                continue  # its precision refuses it
            assert takes(database, table, column, written) is fits, (table, column, value)
        assert takes(database, table, column, "NULL")
    named = {(table, column) for table, column, _ in columns}
    assert {("pipeline_stage_runs", "queue_ms"), ("trade_executions", "slippage_bps")} < named
    assert len(columns) > 20


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (f"{'[' * 32}{']' * 32}", True),
        (f"{'[' * 33}{']' * 33}", False),
        ("1e4000", True),
        ("1e4400", False),
        ('{"a": [-1e4400]}', False),
        (f'"{"a1" * 3_000}"', True),
    ],
)
def test_json_can_be_read_by_python(database: psycopg2.extensions.connection, value: str, fits: bool) -> None:
    """A page that shows such a row, the first one of the admin among them, would be answered 500 for good."""
    assert takes(database, "rollout_history", "after", f"'{value}'") is fits


def test_what_was_compressed_counts_with_all_its_letters(database: psycopg2.extensions.connection) -> None:
    with database.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE packed AS SELECT jsonb_build_array(repeat('z', 100000000)) AS value")
        cursor.execute(f"GRANT SELECT ON packed TO {roles.WORKER}")
        cursor.execute("SELECT pg_column_size(value) FROM packed")
        assert cursor.fetchone()[0] < 2 * lengths.LONG
        cursor.execute(f"SET LOCAL ROLE {roles.WORKER}")
        with pytest.raises(psycopg2.errors.CheckViolation, match="lengths_"):
            cursor.execute(
                "INSERT INTO system_events (severity, kind, subject, data, ts, source) "
                "SELECT 'info', 'x.y', '', value, now(), 'tiers' FROM packed"
            )
    database.rollback()


def test_the_checks_are_made_once(database: psycopg2.extensions.connection) -> None:
    there = "SELECT conrelid, conname, oid FROM pg_constraint WHERE conname LIKE 'lengths%' ORDER BY oid"
    with database.cursor() as cursor:
        cursor.execute(there)
        before = cursor.fetchall()
        lengths.bound(cursor)
        cursor.execute(there)
        assert cursor.fetchall() == before
        cursor.execute("ALTER TABLE rollout_history ADD COLUMN more text")
        cursor.execute(f"GRANT INSERT (more) ON rollout_history TO {roles.WORKER}")
        lengths.bound(cursor)
        cursor.execute(there)
        after = cursor.fetchall()
    database.rollback()
    assert len(after) == len(before)
    assert len(set(after) - set(before)) == 1
