"""Which state the tables of each subject are in: asked by one query for all of them."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connection


@dataclass(frozen=True, slots=True)
class Generation:
    """Which state of a subject's tables: a number that grows, and a token that no other state ever had."""

    value: int
    token: UUID | None = None


NEVER_READ: Final = Generation(-1)
NEVER_CHANGED: Final = Generation(0)
AS_JSON: Final = "(SELECT json_object_agg(subject, json_build_array(value, token))::text FROM control_generations)"


def read() -> Mapping[str, Generation]:
    """The current generation of every subject, by its name; `NEVER_CHANGED` for one without changes. One query."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {AS_JSON}")
        return of_json(cursor.fetchone()[0])


def of_json(text: str | None) -> Mapping[str, Generation]:
    """The same out of what the subselect `AS_JSON` brought beside something else."""
    rows = json.loads(text) if text else {}
    return defaultdict(
        lambda: NEVER_CHANGED, {name: Generation(value, UUID(token)) for name, (value, token) in rows.items()}
    )


def unchanged(subject: str, seen: Generation) -> tuple[str, list[Any]]:
    """A condition in SQL with its parameters: the subject's tables are in the state that was seen."""
    return "(SELECT token FROM control_generations WHERE subject = %s) IS NOT DISTINCT FROM %s", [subject, seen.token]


def lock(subject: str) -> None:
    """Let other changes of this subject wait until the transaction ends. It is locked before any row of its tables."""
    from helios.control.models import SubjectGeneration  # noqa: PLC0415 - models load after the apps

    row = SubjectGeneration.objects.select_for_update().filter(pk=subject)
    if not row:
        SubjectGeneration.objects.get_or_create(pk=subject)
        row.get()


def advance(subject: str) -> int:
    """The subject's next generation, in the transaction that has locked it."""
    from helios.control.models import SubjectGeneration  # noqa: PLC0415

    row = SubjectGeneration.objects.get(pk=subject)
    row.value, row.token = row.value + 1, uuid.uuid4()
    row.save()
    return row.value
