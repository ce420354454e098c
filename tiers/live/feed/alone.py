"""One stream an instrument: whoever comes second waits, and takes over when the first one ends."""

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
class Alone:
    """The instruments that this process alone streams, for as long as its connection to the database lives."""

    _line: BaseDatabaseWrapper = field(default_factory=_own)
    _held: set[str] = field(default_factory=set)
    _taken: frozenset[str] = frozenset()

    def hold(self, symbols: Sequence[str]) -> list[str]:
        """Those of the symbols that nobody else streams, which from now on nobody else does; others are given back.

        Raises: as the database does, and then nothing is held.
        """
        try:
            with self._line.cursor() as cursor:
                self._ask(cursor, "pg_advisory_unlock", self._held.difference(symbols))
                self._held.intersection_update(symbols)
                self._held |= self._ask(cursor, "pg_try_advisory_lock", set(symbols) - self._held)
        except (DatabaseError, InterfaceError) as error:
            logger.bind(error=error_text(error)).warning("feed.unheld")
            self.close()
            raise
        taken = frozenset(symbols) - self._held
        if taken - self._taken:
            logger.bind(symbols=sorted(taken)).warning("feed.taken")  # another process streams them
        self._taken = taken
        return [symbol for symbol in symbols if symbol in self._held]

    def close(self) -> None:
        """Hold nothing any more."""
        self._held.clear()
        self._line.close()

    @staticmethod
    def _ask(cursor: CursorWrapper, what: str, symbols: set[str]) -> set[str]:
        cursor.execute(
            f"SELECT symbol FROM unnest(%s::text[]) AS s(symbol) WHERE {what}(hashtextextended('feed ' || symbol, 0))",  # noqa: S608 - no input
            [sorted(symbols)],
        )
        return {symbol for (symbol,) in cursor.fetchall()}
