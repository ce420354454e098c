"""Transitions on their way into the database, written aside from whatever the caller is doing.

A circuit opens because a call failed, and that failure often dooms the transaction the call was made in: a
row written there, or on its commit, would be rolled back with it and the history would miss exactly the
openings. Therefore the rows are written on a connection of their own, which commits at once. It belongs to
a short-lived thread because Django ties connections to threads; that also keeps it away from a running
event loop. Transitions are rare, so the few milliseconds do not matter, and they are bounded by `WAIT_S`
for the caller.

Nothing here raises: what cannot be written now (the database may be the dependency that failed) is kept and
written with the next transition, or when the process next checks its configuration.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from loguru import logger

from helios import outage
from helios.errors import error_text

WAIT_S = 2.0
KEPT = 200  # transitions kept while the database is away; the oldest go first

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of history, complete: written later it still tells when it happened.

    `action` is what a person did ("transition": nobody, the circuit moved by itself), `changes` the settings that
    it changed. `shared` is false where a process decided alone, `enforced` where the circuit only measured.
    """

    ts: datetime
    name: str
    before: str
    after: str
    reason: str
    actor: str = "system"
    action: str = "transition"
    shared: bool = True
    enforced: bool = True
    changes: dict[str, list[Any]] = field(default_factory=dict)


class Journal:
    """The transitions of this process that are not in the database yet."""

    def __init__(self) -> None:
        self._pending: deque[Entry] = deque(maxlen=KEPT)
        self._writing = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Log the transition and try to write it, and whatever still waits; never raises."""
        level = "INFO" if entry.after == "CLOSED" else "WARNING"
        fields = {"circuit": entry.name, "before": entry.before, "after": entry.after, "reason": entry.reason}
        logger.bind(**fields, enforced=entry.enforced).log(level, "circuit.transition")
        self._pending.append(entry)
        self.flush()

    def flush(self) -> None:
        """Write what waits; keeps it when that fails."""
        if self._pending:
            on_own_connection(self._write)

    @property
    def waiting(self) -> int:
        """How many transitions could not be written yet."""
        return len(self._pending)

    def _write(self) -> None:
        with self._writing:
            while self._pending:
                write(self._pending[0])
                self._pending.popleft()


def on_own_connection(work: Callable[[], T]) -> T | None:
    """Run database work in a thread with its own autocommit connection; None when it failed or hangs."""
    results: list[T] = []

    def run() -> None:
        from django.db import connection  # noqa: PLC0415 - the machine is usable before Django's set-up

        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - best effort: the caller's own work goes on
            if not outage.report(error, during="reading or writing about breakers"):
                logger.bind(error=error_text(error)).warning("circuit.database_failed")
        finally:
            connection.close()

    thread = threading.Thread(target=run, name="breakers-aside", daemon=True)
    thread.start()
    thread.join(WAIT_S)
    return results[0] if results else None


def write(entry: Entry) -> None:
    """Write one transition to the history, the event log and the breaker's row; may raise Django's errors."""
    from django.db import transaction  # noqa: PLC0415
    from django.db.models import Q  # noqa: PLC0415

    from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent  # noqa: PLC0415

    fields = asdict(entry) | {"reason": entry.reason[:200]}
    with transaction.atomic():
        CircuitBreakerEvent.objects.create(breaker_id=fields.pop("name"), **fields)
        _tell(entry)
        if entry.enforced:
            older = Q(last_state_at__isnull=True) | Q(last_state_at__lt=entry.ts)
            CircuitBreaker.objects.filter(older, name=entry.name).update(last_state=entry.after, last_state_at=entry.ts)


def _tell(entry: Entry) -> None:
    """The entry as an event: `breaker.transition` for every move, `breaker.changed` for settings."""
    from helios import events  # noqa: PLC0415

    shown = {"before": entry.before, "after": entry.after, "reason": entry.reason, "actor": entry.actor}
    calm = entry.after == "CLOSED" or not entry.enforced or bool(entry.changes)
    events.record(
        kind="breaker.changed" if entry.changes else "breaker.transition",
        source="breakers",
        subject=entry.name,
        severity="info" if calm else "warning",
        data={**shown, "action": entry.action, "enforced": entry.enforced, "changes": entry.changes},
    )


def moment(epoch_s: float) -> datetime:
    """Seconds since the epoch as an aware datetime in UTC."""
    return datetime.fromtimestamp(epoch_s, tz=UTC)
