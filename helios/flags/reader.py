"""Reads the flag tables for a store."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from django.db import Error as DatabaseError
from django.db import connection
from loguru import logger

from helios import outage
from helios.control import generations
from helios.control.generations import Generation
from helios.db.failures import savepoint
from helios.errors import Transient
from helios.flags.core.codec import (
    constraint_from_json,
    prerequisite_from_json,
    rule_from_json,
    step_from_json,
    variant_from_json,
)
from helios.flags.core.definition import FlagDefinition, Strategy, check_product
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.json_fields import read_list
from helios.flags.core.parts import Segment

log = logger.bind(component="flags")
_FIELDS = (
    "name", "enabled", "strategy", "percentage", "whitelist", "blacklist", "gradual_from", "gradual_start",
    "gradual_end", "schedule", "stickiness", "group_id", "environments", "prerequisites", "constraints", "segments",
    "rules", "variants",
)  # fmt: skip
PARTS: Final[Mapping[str, Callable[[Any, str], Any]]] = {  # the columns that hold lists of objects
    "schedule": step_from_json,
    "prerequisites": prerequisite_from_json,
    "constraints": constraint_from_json,
    "rules": rule_from_json,
    "variants": variant_from_json,
}
Row = Mapping[str, Any]
Read = TypeVar("Read")


def evaluation_context() -> EvaluationContext:
    """Where this process runs, and its chance; `random` is seeded anew in every forked process."""
    from django.conf import settings  # noqa: PLC0415 - settings are read when the first flags are

    return EvaluationContext(environment=settings.ENVIRONMENT, hostname=socket.gethostname(), draw=random.random)


class DatabaseReader:
    """The rows of `feature_flags` as definitions. One that is as it was stays the definition that it was."""

    def __init__(self) -> None:
        self._flags: dict[str, tuple[Row, FlagDefinition]] = {}
        self._segments: dict[str, tuple[Row, Segment]] = {}

    def generation(self) -> Generation:
        """The current generation; raises `Transient` when the database cannot answer."""
        try:
            with savepoint():
                return generations.read()["flags"]
        except DatabaseError as error:
            raise _away("the generation of the flags", error) from error

    def load(self) -> tuple[Generation, Mapping[str, FlagDefinition], Mapping[str, Segment]]:
        """Every flag and segment. The generation is read first: a change in between makes it too old, never too new."""
        from helios.flags.models import FeatureFlag, FlagSegment  # noqa: PLC0415 - models load after the apps

        generation = self.generation()
        try:
            with savepoint():
                flags = list(FeatureFlag.objects.values(*_FIELDS))
                segments = list(FlagSegment.objects.values("name", "description", "constraints"))
        except DatabaseError as error:
            raise _away("the flags", error) from error
        self._flags = _readable(flags, definition_from, self._flags)
        self._segments = _readable(segments, segment_from, self._segments)
        return generation, _parts(self._flags), _parts(self._segments)


def _away(what: str, error: DatabaseError) -> Transient:
    outage.report(error, during=f"reading {what}")
    if not connection.in_atomic_block:  # a transaction is its owner's to end
        connection.close_if_unusable_or_obsolete()  # so that the next attempt opens a new one
    return Transient(f"{what} must be readable from the database, was not: {error}")


def _parts(read: Mapping[str, tuple[Row, Read]]) -> dict[str, Read]:
    return {name: part for name, (_, part) in read.items()}


def _readable(
    rows: Iterable[Row], read: Callable[[Row], Read], before: Mapping[str, tuple[Row, Read]]
) -> dict[str, tuple[Row, Read]]:
    """The rows by name, without those that a newer release wrote unreadably: such a flag is off, and logged."""
    found: dict[str, tuple[Row, Read]] = {}
    for row in rows:
        known = before.get(row["name"])
        if known is not None and known[0] == row:
            found[row["name"]] = known
            continue
        try:
            found[row["name"]] = row, read(row)
        except ValueError as error:
            log.bind(flag=row["name"], error=str(error)).error("flags.unreadable")
    return found


def definition_from(row: Mapping[str, Any]) -> FlagDefinition:
    """A definition from column values; ValueError with one sentence where they contradict each other."""
    return check_product(
        FlagDefinition(
            name=row["name"],
            enabled=row["enabled"],
            strategy=Strategy(row["strategy"]),
            percentage=row["percentage"],
            whitelist=frozenset(row["whitelist"]),
            blacklist=frozenset(row["blacklist"]),
            gradual_from=row["gradual_from"],
            gradual_start=row["gradual_start"],
            gradual_end=row["gradual_end"],
            stickiness=row["stickiness"],
            group_id=row["group_id"],
            environments=frozenset(row["environments"]),
            segments=tuple(row["segments"]),
            **{field: read_list(row[field], field, read) for field, read in PARTS.items()},
        )
    )


def segment_from(row: Mapping[str, Any]) -> Segment:
    """A segment from column values; ValueError with one sentence where they cannot be read."""
    return Segment(
        name=row["name"],
        description=row["description"],
        constraints=read_list(row["constraints"], "constraints", constraint_from_json),
    )
