"""What one process holds of a subject: an immutable snapshot, read without lock or I/O and replaced whole."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from loguru import logger

from helios.control import generations
from helios.control.generations import NEVER_READ, Generation
from helios.errors import Transient, error_text

DATABASE = "database"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A subject at one state of its tables.

    `faults` names what could not be asked: `database` or `redis`.
    """

    state: Generation = NEVER_READ
    faults: frozenset[str] = frozenset()

    @property
    def generation(self) -> int:
        """The number of the last change that is in here; -1 when the database was never read."""
        return self.state.value

    @property
    def stale(self) -> bool:
        """True while a newer state may exist that this process could not hear of."""
        return bool(self.faults)


Held = TypeVar("Held", bound=Snapshot)


class Store(Generic[Held]):
    """Holds the snapshot of one process: read when first asked for, and again when the generation has moved.

    `load` reads a snapshot whose `state` is not newer than the rows in it, `ask` the generation alone. Where one raises
    `Transient`, the last snapshot goes on serving, marked stale; `fallback` serves when the very first read fails so.
    Every other error is the caller's.
    """

    def __init__(
        self,
        subject: str,
        blank: Held,
        load: Callable[[], Held],
        *,
        ask: Callable[[], Generation] | None = None,
        fallback: Callable[[], Held] | None = None,
    ) -> None:
        self._subject = subject
        self._load = load
        self._ask = ask or (lambda: generations.read()[subject])
        self._fallback = fallback
        self._log = logger.bind(component=subject)
        self._listeners: list[Callable[[Held, Held], None]] = []
        self._snapshot = self._blank = blank
        self.renew_locks()
        _stores.add(self)

    def renew_locks(self) -> None:
        """Replace locks that another thread held when this process was forked."""
        self.lock = threading.RLock()  # held while a snapshot is read and put in place

    def snapshot(self) -> Held:
        """The subject as this process sees it; the first call reads it."""
        if self._snapshot is self._blank:
            self.refresh_if_behind()
        return self._snapshot

    @property
    def held(self) -> Held:
        """The same without a read: the blank one before the first."""
        return self._snapshot

    @property
    def loaded(self) -> bool:
        """Whether a first read was tried, so that `snapshot` does no I/O any more."""
        return self._snapshot is not self._blank

    def refresh_if_behind(self, seen: Generation | None = None) -> bool:
        """Ask for the generation and read when it is another one; True when it was read.

        `seen`: the generation, where the caller has just asked for it.
        """
        with self.lock:
            try:
                if self.loaded and (seen or self._ask()) == self._snapshot.state:
                    self._settle(DATABASE)
                    return False
            except Transient as error:
                self._read_failed(error)
                return False
            return self.read()

    def read(self) -> bool:
        """Read the tables, whatever their generation; False when they could not be."""
        with self.lock:
            try:
                fresh = self._load()
            except Transient as error:
                self._read_failed(error)
                return False
            self._replace(replace(fresh, faults=self._snapshot.faults - {DATABASE}))
            return True

    def mark(self, fault: str, *, present: bool) -> None:
        """Note that a source is away, or back."""
        with self.lock:
            if not present:
                self._settle(fault)
            elif fault not in self._snapshot.faults:
                self._log.bind(source=fault).info(f"{self._subject}.stale")  # the outage itself is said by its own line
                held = self.snapshot()
                self._replace(replace(held, faults=held.faults | {fault}))

    def on_change(self, listener: Callable[[Held, Held], None]) -> Callable[[], None]:
        """Call `listener(before, after)` after every new snapshot or other faults; returns its removal.

        It runs in the thread that read the tables, which others wait for: keep it short. What it raises is logged.
        """
        with self.lock:
            self._listeners = [*self._listeners, listener]

        def remove() -> None:
            with self.lock:
                self._listeners = [each for each in self._listeners if each is not listener]

        return remove

    def forget(self) -> None:
        """Return to the state before the first read: the next question reads again."""
        with self.lock:
            self._snapshot = self._blank

    def _settle(self, fault: str) -> None:
        if fault in self._snapshot.faults:
            self._log.bind(source=fault).info(f"{self._subject}.current")
            self._replace(replace(self._snapshot, faults=self._snapshot.faults - {fault}))

    def _read_failed(self, error: Transient) -> None:
        if self.loaded:
            self.mark(DATABASE, present=True)
            return
        if self._fallback is None:
            raise error
        self._log.bind(error=error_text(error)).warning(f"{self._subject}.defaults_serve")
        self._replace(replace(self._fallback(), faults=frozenset({DATABASE})))

    def _replace(self, snapshot: Held) -> None:
        before, self._snapshot = self._snapshot, snapshot
        for listener in self._listeners:
            try:
                listener(before, snapshot)
            except Exception as error:  # noqa: BLE001 - one listener's mistake must not keep a change from the others
                self._log.bind(listener=repr(listener), error=error_text(error)).error(
                    f"{self._subject}.listener_failed"
                )


_stores: weakref.WeakSet[Store[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for store in _stores:
        store.renew_locks()


os.register_at_fork(after_in_child=_after_fork)
