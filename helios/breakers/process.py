"""What one process knows about all breakers: their settings, their circuits, the way to the shared state."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from loguru import logger

from helios import outage
from helios.breakers.catalog import SHIPPED, Settings
from helios.breakers.circuits import ProcessCircuit
from helios.breakers.errors import SharedStateAway, UnknownBreaker
from helios.breakers.flusher import Sharer
from helios.breakers.journal import Journal, on_own_connection
from helios.breakers.shared_state import SharedStore
from helios.control import generations, snapshot
from helios.control.generations import NEVER_READ, Generation
from helios.errors import Transient, error_text

RETRY_S = 10.0  # between attempts to read the settings while the database is away


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(snapshot.Snapshot):
    """How every breaker is set, by name."""

    settings: Mapping[str, Settings] = field(default_factory=dict)


class Process:
    """The breakers of this process; `current()` is the one in use."""

    def __init__(self) -> None:
        self.circuits: dict[str, ProcessCircuit] = {}
        self._tables = snapshot.Store("breakers", Snapshot(), self._read, fallback=Snapshot)
        self._tables.on_change(self._configure)
        self._seen: int | None = None  # configuration changes that Redis knew of when the settings were read
        self._next_attempt = 0.0
        self.journal = Journal()
        self.sharer = Sharer(self.share)

    @cached_property
    def store(self) -> SharedStore:
        """The shared state, at the address that Django's settings name."""
        from django.conf import settings  # noqa: PLC0415 - read when first needed, not at import

        return SharedStore.from_url(settings.REDIS_URL)

    def circuit(self, name: str) -> ProcessCircuit:
        """The circuit `name`; raises `UnknownBreaker` where neither the database nor the catalog has it."""
        return self.circuits.get(name) or self._make(name)

    def share(self) -> bool:
        """Tell Redis every outcome that this process has kept to itself; False where some have to wait."""
        waiting = [circuit.name for circuit in list(self.circuits.values()) if not circuit.share()]
        return not waiting

    def refresh(self, seen: Generation | None = None) -> None:
        """Use settings that changed elsewhere, and write transitions that could not be written so far.

        `seen`: the generation of the breakers, where the caller has just asked for it; without it Redis is asked.
        """
        self.journal.flush()
        if seen is not None:
            self._tables.refresh_if_behind(seen)
            return
        try:
            self.hear(self.store.changes())
        except SharedStateAway:
            self._tables.read()

    def expire(self) -> None:
        """See what this process itself has just changed, without waiting for the next refresh."""
        for circuit in list(self.circuits.values()):
            circuit.expire()
        self.refresh()

    def hear(self, changes: int) -> None:
        """Read the settings again when Redis knows of another number of changes than they were read at."""
        if changes != self._seen:
            with self._tables.lock:  # rows that were read first must not be put in place last
                if changes != self._seen and self._tables.read():
                    self._seen = changes

    def _make(self, name: str) -> ProcessCircuit:
        with self._tables.lock:
            if name in self.circuits:
                return self.circuits[name]
            if name not in self._tables.held.settings:
                self._first_read()
            held = self._tables.held
            settings = held.settings.get(name) or SHIPPED.get(name)
            if settings is not None and held.state == NEVER_READ:
                settings = replace(settings, read=False)
            if settings is None:
                known = ", ".join(sorted({*SHIPPED, *held.settings}))
                raise UnknownBreaker(f"no circuit breaker is named {name!r}; there are {known}")
            circuit = ProcessCircuit(
                name,
                settings,
                store=self.store,
                journal=self.journal,
                acting=_acting,
                on_changes=self.hear,
                on_unshared=self.sharer.wake,
            )
            self.circuits[name] = circuit
            return circuit

    def _first_read(self) -> None:
        try:
            changes = self.store.changes()  # before the rows: a change in between is then read twice, not missed
        except SharedStateAway:
            self._tables.read()
        else:
            self._seen = changes if self._tables.read() else None

    def _read(self) -> Snapshot:
        """Every breaker's row; `Transient` where the database did not answer (asked again after `RETRY_S`).

        The database's own error where nothing was read yet and it lacks the tables: no default helps who needs them.
        """
        if time.monotonic() >= self._next_attempt:
            read = on_own_connection(_load)
            if isinstance(read, Snapshot):
                return read
            if read is not None and not self._tables.loaded:
                raise read
            self._next_attempt = time.monotonic() + RETRY_S
        raise Transient("the settings of the breakers must be readable from the database, were not")

    def _configure(self, _: Snapshot, now: Snapshot) -> None:
        for name, circuit in list(self.circuits.items()):
            settings = now.settings.get(name) or SHIPPED.get(name)
            if settings is None:  # a person deleted it
                self.circuits.pop(name, None)
            elif settings != circuit.settings:
                circuit.configure(settings)


def _load() -> Snapshot | Exception:
    """Every breaker's row; the error where the database lacks their table."""
    from django.db import ProgrammingError  # noqa: PLC0415 - breakers are usable before Django's set-up

    from helios.breakers.models import CircuitBreaker  # noqa: PLC0415 - models load after the apps

    settings: dict[str, Settings] = {}
    try:
        state = generations.read()["breakers"]  # before the rows: too old after a change in between, never too new
        rows = list(CircuitBreaker.objects.all())
    except ProgrammingError as error:
        if outage.behind(error):
            return error
        raise
    for row in rows:
        try:
            settings[row.name] = row.settings()
        except ValueError as error:
            logger.bind(circuit=row.name, error=str(error)).error("circuit.settings_refused")
    return Snapshot(state=state, settings=settings)


def _acting() -> bool:
    """The flag `circuit_breakers`; where it cannot be read, breakers act."""
    from helios import flags  # noqa: PLC0415 - flags read their models when first asked

    try:
        return flags.is_enabled("circuit_breakers")
    except Exception as error:  # noqa: BLE001 - the caller came for its dependency, not for our flag
        logger.bind(error=error_text(error)).warning("circuit.flag_unreadable")
        return True


_current = Process()


def current() -> Process:
    """The breakers of this process."""
    return _current


def forget() -> None:
    """Begin anew: circuits, settings and connections; what was not shared is lost. For tests."""
    _current.sharer.stop()
    _renew()


def _renew() -> None:
    """Neither threads nor connections survive a fork, and a lock may be held for ever: begin anew."""
    global _current  # noqa: PLW0603 - one per process is the point
    _current = Process()


def _share_at_exit() -> None:
    _current.sharer.stop()
    _current.share()


os.register_at_fork(after_in_child=_renew)
atexit.register(_share_at_exit)
