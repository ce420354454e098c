"""What one process knows about all breakers: their settings, their circuits, the way to the shared state."""

from __future__ import annotations

import atexit
import os
import threading
import time
from dataclasses import replace
from functools import cached_property

from loguru import logger

from helios.breakers.catalog import SHIPPED, Settings
from helios.breakers.circuits import ProcessCircuit
from helios.breakers.errors import SharedStateAway, UnknownBreaker
from helios.breakers.flusher import Sharer
from helios.breakers.journal import Journal, on_own_connection
from helios.breakers.shared_state import SharedStore
from helios.control.generations import Generation

RETRY_S = 10.0  # between attempts to read the settings while the database is away


class Process:
    """The breakers of this process; `current()` is the one in use."""

    def __init__(self) -> None:
        self.circuits: dict[str, ProcessCircuit] = {}
        self._settings: dict[str, Settings] = {}
        self._known = False  # whether the settings were ever read
        self._seen: int | None = None  # configuration changes that the settings take into account
        self._generation: Generation | None = None  # of the tables, which the settings are at least as new as
        self._next_attempt = 0.0
        self._making = threading.Lock()
        self._reading = threading.Lock()  # rows that were read first must not be put in place last
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
            with self._reading:
                if seen != self._generation and self._read():
                    self._generation = seen
            return
        try:
            self.hear(self.store.changes())
        except SharedStateAway:
            with self._reading:
                self._read()

    def expire(self) -> None:
        """See what this process itself has just changed, without waiting for the next refresh."""
        for circuit in list(self.circuits.values()):
            circuit.expire()
        self.refresh()

    def hear(self, changes: int) -> None:
        """Read the settings again when Redis knows of another number of changes than they were read at."""
        if changes != self._seen:
            with self._reading:
                if changes != self._seen and self._read():
                    self._seen = changes

    def _make(self, name: str) -> ProcessCircuit:
        with self._making, self._reading:
            if name in self.circuits:
                return self.circuits[name]
            if name not in self._settings:
                self._first_read()
            settings = self._settings.get(name) or SHIPPED.get(name)
            if settings is not None and not self._known:
                settings = replace(settings, read=False)
            if settings is None:
                known = ", ".join(sorted({*SHIPPED, *self._settings}))
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
            self._read()
        else:
            self._seen = changes if self._read() else None

    def _read(self) -> bool:
        """Read every breaker's row; False where the database did not answer (asked again after `RETRY_S`)."""
        if time.monotonic() < self._next_attempt:
            return False
        rows = on_own_connection(_rows)
        if rows is None:
            self._next_attempt = time.monotonic() + RETRY_S
            return False
        self._settings, self._known = rows, True
        for name, circuit in list(self.circuits.items()):
            settings = rows.get(name) or SHIPPED.get(name)
            if settings is None:  # a person deleted it
                self.circuits.pop(name, None)
            elif settings != circuit.settings:
                circuit.configure(settings)
        return True


def _rows() -> dict[str, Settings]:
    from helios.breakers.models import CircuitBreaker  # noqa: PLC0415 - models load after the apps

    settings: dict[str, Settings] = {}
    for row in CircuitBreaker.objects.all():
        try:
            settings[row.name] = row.settings()
        except ValueError as error:
            logger.bind(circuit=row.name, error=str(error)).error("circuit.settings_refused")
    return settings


def _acting() -> bool:
    """The flag `circuit_breakers`; where it cannot be read, breakers act."""
    from helios import flags  # noqa: PLC0415 - flags read their models when first asked

    try:
        return flags.is_enabled("circuit_breakers")
    except Exception as error:  # noqa: BLE001 - the caller came for its dependency, not for our flag
        logger.bind(error=f"{type(error).__name__}: {error}").warning("circuit.flag_unreadable")
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
