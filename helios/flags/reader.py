"""Reads the flag tables for a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection
from loguru import logger

from helios.errors import Transient
from helios.flags.core import FlagDefinition, Strategy
from helios.flags.store import Generation

log = logger.bind(component="flags")
_FIELDS = (
    "name", "enabled", "strategy", "percentage", "whitelist", "blacklist", "gradual_start", "gradual_end",
    "stickiness",
)  # fmt: skip


class DatabaseReader:
    """The rows of `feature_flags` as definitions."""

    def generation(self) -> Generation:
        """The current generation; raises `Transient` when the database cannot answer."""
        from helios.flags.models import FlagGeneration  # noqa: PLC0415 - models load after the apps

        try:
            row = FlagGeneration.objects.filter(pk=1).values_list("value", "token").first()
        except DatabaseError as error:
            raise _away("the generation of the flags", error) from error
        return Generation(*row) if row else Generation(0)

    def load(self) -> tuple[Generation, Mapping[str, FlagDefinition]]:
        """Every flag. The generation is read first: a change in between makes it too old, never too new."""
        from helios.flags.models import FeatureFlag  # noqa: PLC0415

        generation = self.generation()
        try:
            rows = list(FeatureFlag.objects.values(*_FIELDS))
        except DatabaseError as error:
            raise _away("the flags", error) from error
        definitions = (_definition(row) for row in rows)
        return generation, {flag.name: flag for flag in definitions if flag is not None}


def _away(what: str, error: DatabaseError) -> Transient:
    if not connection.in_atomic_block:  # a transaction is its owner's to end
        connection.close_if_unusable_or_obsolete()  # so that the next attempt opens a new one
    return Transient(f"{what} must be readable from the database, was not: {error}")


def _definition(row: Mapping[str, Any]) -> FlagDefinition | None:
    """The row as a definition; None, so that the flag is off, where a newer release wrote it unreadable."""
    try:
        return definition_from(row)
    except ValueError as error:
        log.bind(flag=row["name"], error=str(error)).error("flags.unreadable")
        return None


def definition_from(row: Mapping[str, Any]) -> FlagDefinition:
    """A definition from column values; ValueError with one sentence where they contradict each other."""
    return FlagDefinition(
        name=row["name"],
        enabled=row["enabled"],
        strategy=Strategy(row["strategy"]),
        percentage=row["percentage"],
        whitelist=frozenset(row["whitelist"]),
        blacklist=frozenset(row["blacklist"]),
        gradual_start=row["gradual_start"],
        gradual_end=row["gradual_end"],
        stickiness=row["stickiness"],
    )
