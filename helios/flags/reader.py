"""Reads the flag tables for a store."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

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
Read = TypeVar("Read")


def evaluation_context() -> EvaluationContext:
    """Where this process runs, and its chance; `random` is seeded anew in every forked process."""
    from django.conf import settings  # noqa: PLC0415 - settings are read when the first flags are

    return EvaluationContext(environment=settings.ENVIRONMENT, hostname=socket.gethostname(), draw=random.random)


class DatabaseReader:
    """The rows of `feature_flags` as definitions."""

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
        return generation, _readable(flags, definition_from), _readable(segments, segment_from)


def _away(what: str, error: DatabaseError) -> Transient:
    outage.report(error, during=f"reading {what}")
    if not connection.in_atomic_block:  # a transaction is its owner's to end
        connection.close_if_unusable_or_obsolete()  # so that the next attempt opens a new one
    return Transient(f"{what} must be readable from the database, was not: {error}")


def _readable(rows: Iterable[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], Read]) -> dict[str, Read]:
    """The rows by name, without those that a newer release wrote unreadably: such a flag is off, and logged."""
    found: dict[str, Read] = {}
    for row in rows:
        try:
            found[row["name"]] = read(row)
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
            schedule=read_list(row["schedule"], "schedule", step_from_json),
            stickiness=row["stickiness"],
            group_id=row["group_id"],
            environments=frozenset(row["environments"]),
            prerequisites=read_list(row["prerequisites"], "prerequisites", prerequisite_from_json),
            constraints=read_list(row["constraints"], "constraints", constraint_from_json),
            segments=tuple(row["segments"]),
            rules=read_list(row["rules"], "rules", rule_from_json),
            variants=read_list(row["variants"], "variants", variant_from_json),
        )
    )


def segment_from(row: Mapping[str, Any]) -> Segment:
    """A segment from column values; ValueError with one sentence where they cannot be read."""
    return Segment(
        name=row["name"],
        description=row["description"],
        constraints=read_list(row["constraints"], "constraints", constraint_from_json),
    )
