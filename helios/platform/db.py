"""SQL that migrations share: append-only history, partitions made on demand; and a savepoint where one is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from django.db import InterfaceError, OperationalError, connection, transaction

UNAVAILABLE = (OperationalError, InterfaceError)  # the database is away, or gave up a statement

Period = Literal["year", "month"]

_REFUSE = """
CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('helios.maintenance', true) = 'on' THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {table}_append_only();
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only();
"""
_ALLOW = """
DROP TRIGGER IF EXISTS {table}_no_change ON {table};
DROP TRIGGER IF EXISTS {table}_no_truncate ON {table};
DROP FUNCTION IF EXISTS {table}_append_only();
"""


def append_only_sql(table: str) -> tuple[str, str]:
    """Forward and reverse SQL that makes a table refuse UPDATE, DELETE and TRUNCATE.

    Maintenance (retention, test clean-up) sets `helios.maintenance` to `on` for its session.
    """
    return _REFUSE.format(table=table), _ALLOW.format(table=table)


def partition_bounds(ts: datetime, period: Period) -> tuple[str, datetime, datetime]:
    """Suffix, inclusive start and exclusive end of the partition that holds `ts`."""
    if period == "year":
        start = datetime(ts.year, 1, 1, tzinfo=UTC)
        return f"y{ts.year:04d}", start, datetime(ts.year + 1, 1, 1, tzinfo=UTC)
    start = datetime(ts.year, ts.month, 1, tzinfo=UTC)
    carry, month = divmod(ts.month, 12)
    return f"y{ts.year:04d}m{ts.month:02d}", start, datetime(ts.year + carry, month + 1, 1, tzinfo=UTC)


def ensure_partitions(table: str, period: Period, first: datetime, last: datetime) -> list[str]:
    """Make the partitions of `table` that cover first..last (UTC); returns the names it made.

    Safe to call from several processes at once: an advisory lock serialises the makers of one table.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [table])
        existing = {row[0] for row in cursor.fetchall()}
    bounds = {name: span for name, span in _partitions(table, period, first, last) if name not in existing}
    if not bounds:
        return []
    with transaction.atomic(), connection.cursor() as cursor:  # the lock lasts as long as its transaction
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [table])
        for name, (start, end) in bounds.items():
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} "
                f"FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
            )
    return list(bounds)


def _partitions(
    table: str, period: Period, first: datetime, last: datetime
) -> Iterator[tuple[str, tuple[datetime, datetime]]]:
    """The names of the partitions that hold first..last, with their bounds."""
    moment = first
    while True:
        suffix, start, end = partition_bounds(moment, period)
        yield f"{table}_{suffix}", (start, end)
        if end > last:
            return
        moment = end


def lost(error: BaseException) -> bool:
    """Whether an error means that the database is away. A statement that it gave up leaves the connection usable.

    To be asked outside of the savepoint in which the error was raised.
    """
    return isinstance(error, UNAVAILABLE) and not connection.is_usable()


@contextmanager
def savepoint() -> Iterator[None]:
    """For work whose errors the caller catches: a statement that fails in it leaves the transaction around it usable.

    PostgreSQL refuses every statement after a failed one until it is rolled back. Outside of a transaction it is free.
    """
    if not connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        yield
