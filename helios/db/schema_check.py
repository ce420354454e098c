"""A database whose tables another Helios has laid out: refused, never half migrated."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.core.management import CommandError
from django.db import connections
from django.db.migrations.loader import MigrationLoader

FLOORS: Final = frozenset({"helios", "trading", "tiers", "sentinel"})  # packages may replace migrations of theirs
GONE_APPS: Final = frozenset({"platform"})  # labels of apps that only an unreleased Helios had


def refuse_other_schema(*, using: str, **_: Any) -> None:
    """Raise `CommandError` where migrations were applied that this Helios has not; for the signal `pre_migrate`."""
    loader = MigrationLoader(connections[using])
    ours = GONE_APPS | {each.label for each in apps.get_app_configs() if each.name.partition(".")[0] in FLOORS}
    strange = [key for key in loader.applied_migrations if key[0] in ours and key not in loader.graph.nodes]
    if strange:
        raise CommandError(
            "the database must be one that this Helios has made, was made by an earlier one: "
            "`make clean` removes it with all its data, and the next start makes a new one"
        )
