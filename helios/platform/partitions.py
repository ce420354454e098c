"""A migration operation for tables that are partitioned by time."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import CreateModel
from django.db.migrations.state import ProjectState


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
