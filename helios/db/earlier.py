"""A database that an unreleased Helios has made before its tables were laid out anew: refused, never half migrated."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

GONE_APPS = frozenset({"platform"})  # labels of apps that only such a database knows


def refuse(*, using: str, **_: Any) -> None:
    """Raise `CommandError` where the database was made by such a Helios; for the signal `pre_migrate`."""
    applied = MigrationRecorder(connections[using]).applied_migrations()
    if GONE_APPS & {app for app, _name in applied}:
        raise CommandError(
            "the database must be one that this Helios has made, was made by an earlier one: "
            "`make clean` removes it with all its data, and the next start makes a new one"
        )
