"""One process at a time for a piece of work: whoever comes second waits, and takes over when the first one ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from loguru import logger

from helios.errors import error_text


def _own() -> BaseDatabaseWrapper:
    made = connection.copy()
    made.inc_thread_sharing()
    return made


@dataclass(slots=True)
class WorkLock:
    """What of some `work` this process alone does, by name, for as long as its connection to the database lives."""

    work: str
    _line: BaseDatabaseWrapper = field(default_factory=_own)
    _held: set[str] = field(default_factory=set)
    _taken: frozenset[str] = frozenset()

    def hold(self, names: Sequence[str]) -> list[str]:
        """Those of the names that nobody else holds, which from now on nobody else does; others are given back.

        Raises: as the database does, and then nothing is held.
        """
        try:
            with self._line.cursor() as cursor:
                self._ask(cursor, "pg_advisory_unlock", self._held.difference(names))
                self._held.intersection_update(names)
                self._held |= self._ask(cursor, "pg_try_advisory_lock", set(names) - self._held)
        except (DatabaseError, InterfaceError) as error:
            logger.bind(work=self.work, error=error_text(error)).warning("work.unheld")
            self.close()
            raise
        taken = frozenset(names) - self._held
        if taken - self._taken:
            logger.bind(work=self.work, names=sorted(taken)).info("work.taken")  # by another process
        self._taken = taken
        return [name for name in names if name in self._held]

    def close(self) -> None:
        """Hold nothing any more."""
        self._held.clear()
        self._line.close()

    def _ask(self, cursor: CursorWrapper, what: str, names: set[str]) -> set[str]:
        cursor.execute(
            f"SELECT name FROM unnest(%s::text[]) AS n(name) WHERE {what}(hashtextextended(%s || name, 0))",  # noqa: S608 - no input
            [sorted(names), f"{self.work} "],
        )
        return {name for (name,) in cursor.fetchall()}
