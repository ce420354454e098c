"""Tables that are partitioned by time: the migration operation that makes one, and partitions made on demand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from django.db import connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import CreateModel
from django.db.migrations.state import ProjectState

from helios.db.locks import hold

Period = Literal["year", "month"]

# Runs as its owner, who owns the tables: it makes partitions of tables that have some, named and bounded as below, all
# of a table by year or all by month, for who may write there, whatever is set in the session: moments, names and bounds
# go through text. One that reached further would keep those that it
# overlaps from being made, and whoever reads a table without a time locks all that there are. Each is attached: made in
# place, it would keep everybody from its table until its transaction ends.
MAKER = """
CREATE OR REPLACE FUNCTION make_partition(parent regclass, child text, first timestamptz, until timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET quote_all_identifiers = off
SET default_tablespace = '' SET default_table_access_method = 'heap' AS $$
DECLARE
    number text[] := regexp_match(child, '_y([0-9]{4})(?:m([0-9]{2}))?$');
    start timestamp := make_date(number[1]::int, coalesce(number[2]::int, 1), 1);
    step interval := CASE WHEN number[2] IS NULL THEN '1 year' ELSE '1 month' END;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_partitioned_table WHERE partrelid = parent)
        OR child !~ ('^' || parent::text || '_y[0-9]{4}(m[0-9]{2})?$') THEN
        RAISE EXCEPTION '% must be a partition of a table that has some, % is none', child, parent;
    END IF;
    IF (first, until) IS DISTINCT FROM (start AT TIME ZONE 'UTC', (start + step) AT TIME ZONE 'UTC') OR EXISTS (
        SELECT FROM pg_inherits WHERE inhparent = parent
        AND (inhrelid::regclass::text ~ '_y[0-9]{4}m[0-9]{2}$') <> (number[2] IS NOT NULL)
    ) THEN
        RAISE EXCEPTION '% must hold what its name says, as the others do, not % to %', child, first, until;
    END IF;
    IF NOT has_any_column_privilege(session_user, parent, 'INSERT')
        OR number[1]::int NOT BETWEEN 1900 AND extract(year FROM clock_timestamp() AT TIME ZONE 'UTC') + 1 THEN
        RAISE EXCEPTION '% must hold rows that may be written, of 1900 to next year', child USING ERRCODE = '42501';
    END IF;
    IF to_regclass(child) IS NULL THEN
        EXECUTE format('CREATE TABLE public.%I (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent);
        EXECUTE format(
            'ALTER TABLE %s ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, child, first, until
        );
    END IF;
END $$;
REVOKE ALL ON FUNCTION make_partition FROM PUBLIC;
"""
NO_MAKER = "DROP FUNCTION IF EXISTS make_partition"


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
        hold(f"partitions {table}")
        for name, (start, end) in bounds.items():
            cursor.execute("SELECT make_partition(%s::regclass, %s, %s, %s)", [table, name, start, end])
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


class CreatePartitionedModel(CreateModel):
    """`CreateModel` whose table is declared `PARTITION BY RANGE (column)`; partitions are made on demand."""

    def __init__(self, *args: Any, partition_by: str, **kwargs: Any) -> None:
        self.partition_by = partition_by
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        name, args, kwargs = super().deconstruct()
        return name, list(args), {**kwargs, "partition_by": self.partition_by}

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        plain = schema_editor.sql_create_table
        schema_editor.sql_create_table = f"{plain} PARTITION BY RANGE ({self.partition_by})"
        try:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            schema_editor.sql_create_table = plain

    def describe(self) -> str:
        return f"Create partitioned model {self.name}"
