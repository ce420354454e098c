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
