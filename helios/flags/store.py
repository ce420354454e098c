"""The flags of this process: one immutable snapshot, read without lock or I/O and replaced whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from loguru import logger

from helios.errors import Transient
from helios.flags.core import NOBODY, UNKNOWN, Decision, FlagContext, FlagDefinition, constant, evaluate

MAX_UNKNOWN_NAMES = 1_000  # a caller that makes names up must not fill the memory
log = logger.bind(component="flags")


@dataclass(frozen=True, slots=True)
class Generation:
    """Which state of the flag tables: a number that grows, and a token that no other state ever had."""

    value: int
    token: UUID | None = None


NEVER_READ = Generation(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Every flag at one state of the tables. `faults` names what could not be asked: `database`, `redis`."""

    state: Generation
    flags: Mapping[str, FlagDefinition]
    faults: frozenset[str] = frozenset()
    fixed: Mapping[str, bool] = field(init=False, repr=False)  # answers that hang on nothing

    def __post_init__(self) -> None:
        answers = {name: constant(flag) for name, flag in self.flags.items()}
        fixed = {name: answer for name, answer in answers.items() if answer is not None}
        object.__setattr__(self, "flags", MappingProxyType(dict(self.flags)))
        object.__setattr__(self, "fixed", fixed)

    @property
    def generation(self) -> int:
        """The number of the last change that these flags hold; -1 when the database was never read."""
        return self.state.value

    @property
    def stale(self) -> bool:
        """True while a newer state may exist that this process could not hear of."""
        return bool(self.faults)


class Reader(Protocol):
    """Where the flags come from; both methods raise `Transient` when the source cannot be asked."""

    def generation(self) -> Generation:
        """The current generation, by one tiny query."""

    def load(self) -> tuple[Generation, Mapping[str, FlagDefinition]]:
        """Every flag, and a generation that is not newer than they are."""


class FlagStore:
    """Holds the snapshot of one process.

    `defaults` serve, marked stale, when the very first read fails: a process that starts while the database
    is away behaves like a fresh installation until it is back.
    """

    def __init__(
        self,
        reader: Reader,
        defaults: Callable[[], Mapping[str, FlagDefinition]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reader = reader
        self._defaults = defaults
        self._clock = clock
        self._unknown: dict[str, int] = {}
        self._changed = threading.Condition(threading.RLock())
        self._counting = threading.Lock()  # of its own: counting must not wait for a read of the database
        self._blank = Snapshot(state=NEVER_READ, flags={})
        self._snapshot = self._blank

    def is_enabled(self, name: str, context: FlagContext | None = None) -> bool:
        """Whether the flag is on for this context now; an unknown one is off. No I/O after the first call."""
        answer = self._snapshot.fixed.get(name)
        if answer is not None:
            return answer
        return self.explain(name, context).enabled

    def explain(self, name: str, context: FlagContext | None = None, now: datetime | None = None) -> Decision:
        """The same with its reason, and at a moment of the caller's choice (UTC)."""
        flag = self.snapshot().flags.get(name)
        if flag is None:
            self._count_unknown(name)
            return UNKNOWN
        return evaluate(flag, context or NOBODY, now or self._clock())

    def snapshot(self) -> Snapshot:
        """The flags as this process sees them; the first call reads them."""
        if self._snapshot is self._blank:
            self.refresh_if_behind()
        return self._snapshot

    @property
    def loaded(self) -> bool:
        """Whether a first read was tried, so that lookups do no I/O any more."""
        return self._snapshot is not self._blank

    def refresh_if_behind(self) -> bool:
        """Ask for the generation and read the flags when it is another one; True when they were read.

        When the database cannot be asked, the last snapshot goes on serving, marked stale.
        """
        with self._changed:
            try:
                if self.loaded and self._reader.generation() == self._snapshot.state:
                    self._settle("database")
                    return False
                state, flags = self._reader.load()
            except Transient as error:
                self._read_failed(error)
                return False
            faults = self._snapshot.faults - {"database"}
            self._replace(Snapshot(state=state, flags=flags, faults=faults))
            return True

    def mark(self, fault: str, *, present: bool) -> None:
        """Note that a source is away, or back."""
        with self._changed:
            if not present:
                self._settle(fault)
            elif fault not in self._snapshot.faults:
                log.bind(source=fault).warning("flags.stale")
                self._replace(replace(self.snapshot(), faults=self._snapshot.faults | {fault}))

    def wait_until(self, condition: Callable[[Snapshot], bool], timeout_s: float) -> bool:
        """Block until a snapshot meets the condition; False when none did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._snapshot), timeout_s)

    def unknown(self) -> dict[str, int]:
        """How often each unknown flag was asked for."""
        with self._counting:
            return dict(self._unknown)

    def forget(self) -> None:
        """Return to the state before the first read: the next lookup reads again."""
        with self._changed, self._counting:
            self._unknown = {}
            self._snapshot = self._blank

    def renew_locks(self) -> None:
        """Replace locks that another thread held when this process was forked."""
        self._changed = threading.Condition(threading.RLock())
        self._counting = threading.Lock()

    def _settle(self, fault: str) -> None:
        if fault in self._snapshot.faults:
            log.bind(source=fault).info("flags.current")
            self._replace(replace(self._snapshot, faults=self._snapshot.faults - {fault}))

    def _read_failed(self, error: Transient) -> None:
        if not self.loaded:
            log.bind(error=str(error)).warning("flags.defaults_serve")
            self._replace(Snapshot(state=NEVER_READ, flags=self._defaults(), faults=frozenset({"database"})))
            return
        self.mark("database", present=True)

    def _replace(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._changed.notify_all()

    def _count_unknown(self, name: str) -> None:
        with self._counting:
            if name not in self._unknown and len(self._unknown) >= MAX_UNKNOWN_NAMES:
                return
            if name not in self._unknown:
                log.bind(flag=name).warning("flags.unknown")
            self._unknown[name] = self._unknown.get(name, 0) + 1
