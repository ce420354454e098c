"""How a person, or the system, changes something: in one transaction, one after the other, counted and announced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, Required, TypedDict, TypeVar

from django.conf import settings
from django.db import models, transaction

from helios import events
from helios.control import generations, news
from helios.db import locks
from helios.entries import storable
from helios.errors import Conflict

MAX_ACTOR: Final = 150
Row = TypeVar("Row", bound=models.Model)


class By(TypedDict, total=False):
    """Who makes a change, why, and the version at which that person saw the row; without it, whatever it is at."""

    actor: Required[str]
    reason: str
    version: int | None


class Versioned(Protocol):
    """A row whose version grows by one with every change."""

    name: Any
    version: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Flags, breakers, modules or rollouts, as their changes see them."""

    name: str  # of its generations, its news and the source of its events
    refused: Callable[[str], Exception]
    follow: Callable[[], object] = lambda: None  # how this process takes its own change over once it is committed

    @contextmanager
    def changing(self, *, actor: str, reason: str = "") -> Iterator[None]:
        """A transaction in which other changes of the subject wait. Refuses an actor or a reason that is none."""
        self.check(actor, reason)
        with locks.changing(f"a row of {self.name}"):
            generations.lock(self.name)
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The same for what the system does by itself, which waits longer."""
        with locks.changing(f"a row of {self.name}", wait_ms=locks.SYSTEM_WAIT_MS):
            generations.lock(self.name)
            yield

    def check(self, actor: str, reason: str = "") -> None:
        """Every change names who made it, in words that can be stored."""
        for field, text in (("actor", actor), ("reason", reason)):
            if not storable(text):
                raise self.refused(f"{field} must hold text that can be stored, held a NUL or half a character")
        if not actor.strip() or len(actor) > MAX_ACTOR:
            raise self.refused(f"a change must name its actor in 1 to {MAX_ACTOR} letters, was {actor[:20]!r}")

    def moved(self) -> int:
        """The next generation, inside `changing`; it is announced when the transaction is committed."""
        generation = generations.advance(self.name)
        transaction.on_commit(partial(self._committed, generation), robust=True)
        return generation

    def record(self, kind: str, name: str, data: Mapping[str, Any], *, severity: str = "info") -> None:
        """Append an event about `name`."""
        events.record(kind=kind, severity=severity, source=self.name, subject=name, data=dict(data))

    def _committed(self, generation: int) -> None:
        self.follow()
        news.announce(settings.REDIS_URL, self.name, f"generation {generation}")


def locked(rows: models.QuerySet[Row], unknown: Callable[[], Exception]) -> Row:
    """The one row, held until the transaction ends; raises what `unknown` makes where there is none."""
    row = rows.select_for_update().first()
    if row is None:
        raise unknown()
    return row


def check_version(row: Versioned, version: int | None, history: models.QuerySet[Any]) -> None:
    """Raise `Conflict` unless the row is still at the version that a person saw; None: whatever it is at.

    The second of two editors is told who was first, by the newest entry of the history; nothing of either is lost.
    """
    if version is None or row.version == version:
        return
    first = history.first()
    by = f" by {first.actor}" if first else ""
    raise Conflict(
        f"{row.name} must still be at version {version}, is at {row.version}: it was changed meanwhile{by};"
        " look at it again, then repeat your change"
    )
