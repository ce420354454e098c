"""The flags of this process: one immutable snapshot, read without lock or I/O and replaced whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Protocol

from loguru import logger

from helios.control.generations import NEVER_READ, Generation
from helios.errors import Transient
from helios.flags.core.context import NOBODY, FlagContext
from helios.flags.core.definition import UNKNOWN, Decision, FlagDefinition
from helios.flags.core.evaluation import Evaluator, compile_flags
from helios.flags.core.evaluation_context import NOWHERE, EvaluationContext
from helios.flags.core.parts import Segment, VariantResult
from helios.flags.core.variants import DISABLED

MAX_UNKNOWN_NAMES = 1_000  # a caller that makes names up must not fill the memory
LIVE, STALE = "LIVE", "STALE"
_NO_TIME = datetime.min.replace(tzinfo=UTC)  # for evaluators that do not look at the time
log = logger.bind(component="flags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Every flag at one state of the tables, ready to be asked.

    `faults` names what could not be asked, `database` or `redis`, and `stale_since` when that began.
    """

    state: Generation
    flags: Mapping[str, FlagDefinition]
    segments: Mapping[str, Segment] = field(default_factory=dict)
    faults: frozenset[str] = frozenset()
    stale_since: datetime | None = None
    evaluation_context: EvaluationContext = field(default=NOWHERE, repr=False)
    evaluators: Mapping[str, Evaluator] = field(default_factory=dict, repr=False)
    fixed: Mapping[str, bool] = field(init=False, repr=False)  # answers that hang on nothing

    def __post_init__(self) -> None:
        ready = self.evaluators or compile_flags(self.flags, self.segments, self.evaluation_context)
        fixed = {name: flag.fixed for name, flag in ready.items() if flag.fixed is not None}
        object.__setattr__(self, "flags", MappingProxyType(dict(self.flags)))
        object.__setattr__(self, "segments", MappingProxyType(dict(self.segments)))
        object.__setattr__(self, "evaluators", ready)
        object.__setattr__(self, "fixed", fixed)

    @property
    def generation(self) -> int:
        """The number of the last change that these flags hold; -1 when the database was never read."""
        return self.state.value

    @property
    def stale(self) -> bool:
        """True while a newer state may exist that this process could not hear of."""
        return bool(self.faults)

    @property
    def status(self) -> str:
        """`LIVE`, or `STALE` while a newer state may exist that this process could not hear of."""
        return STALE if self.faults else LIVE

    def statement(self, now: datetime) -> str:
        """The status with what is away and for how long: `STALE for 12 s: redis away, generation 41 serves`."""
        if not self.faults:
            return f"{LIVE}: generation {self.generation}"
        age = (now - self.stale_since).total_seconds() if self.stale_since else 0.0
        serving = f"generation {self.generation} serves" if self.generation >= 0 else "the shipped defaults serve"
        return f"{STALE} for {age:.0f} s: {' and '.join(sorted(self.faults))} away, {serving}"


class Reader(Protocol):
    """Where the flags come from; both methods raise `Transient` when the source cannot be asked."""

    def generation(self) -> Generation:
        """The current generation, by one tiny query."""

    def load(self) -> tuple[Generation, Mapping[str, FlagDefinition], Mapping[str, Segment]]:
        """Every flag and every segment, and a generation that is not newer than they are."""


OnChange = Callable[[Snapshot, Snapshot], None]


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
        evaluation_context: Callable[[], EvaluationContext] = lambda: NOWHERE,
    ) -> None:
        self._reader = reader
        self._defaults = defaults
        self._clock = clock
        self._evaluation_context = evaluation_context
        self._unknown: dict[str, int] = {}
        self._changed = threading.Condition(threading.RLock())
        self._counting = threading.Lock()  # of its own: counting must not wait for a read of the database
        self._listeners: list[OnChange] = []
        self._blank = Snapshot(state=NEVER_READ, flags={})
        self._snapshot = self._blank

    def is_enabled(self, name: str, context: FlagContext | None = None) -> bool:
        """Whether the flag is on for this context now; an unknown one is off. No I/O after the first call."""
        snapshot = self._snapshot
        answer = snapshot.fixed.get(name)
        if answer is not None:
            return answer
        flag = snapshot.evaluators.get(name)
        if flag is None:
            return self.explain(name, context).enabled
        return flag.decide(context or NOBODY, self._clock() if flag.timed else _NO_TIME).enabled

    def explain(self, name: str, context: FlagContext | None = None, now: datetime | None = None) -> Decision:
        """The same with its reason, and at a moment of the caller's choice (UTC)."""
        flag = self._evaluator(name)
        return UNKNOWN if flag is None else flag.decide(context or NOBODY, now or self._clock())

    def variant(self, name: str, context: FlagContext | None = None, now: datetime | None = None) -> VariantResult:
        """The variant of the flag that this context gets; `disabled` where the flag is off, unknown or has none."""
        flag = self._evaluator(name)
        return DISABLED if flag is None else flag.choose(context or NOBODY, now or self._clock())

    def _evaluator(self, name: str) -> Evaluator | None:
        flag = self.snapshot().evaluators.get(name)
        if flag is None:
            self._count_unknown(name)
        return flag

    def snapshot(self) -> Snapshot:
        """The flags as this process sees them; the first call reads them."""
        if self._snapshot is self._blank:
            self.refresh_if_behind()
        return self._snapshot

    @property
    def loaded(self) -> bool:
        """Whether a first read was tried, so that lookups do no I/O any more."""
        return self._snapshot is not self._blank

    def refresh_if_behind(self, seen: Generation | None = None) -> bool:
        """Ask for the generation and read the flags when it is another one; True when they were read.

        `seen`: the generation, where the caller has just asked for it. When the database cannot be asked, the last
        snapshot goes on serving, marked stale.
        """
        with self._changed:
            try:
                if self.loaded and (seen or self._reader.generation()) == self._snapshot.state:
                    self._settle("database")
                    return False
                state, flags, segments = self._reader.load()
            except Transient as error:
                self._read_failed(error)
                return False
            self._replace(self._fresh(state, flags, segments, self._snapshot.faults - {"database"}))
            return True

    def mark(self, fault: str, *, present: bool) -> None:
        """Note that a source is away, or back."""
        with self._changed:
            if not present:
                self._settle(fault)
            elif fault not in self._snapshot.faults:
                log.bind(source=fault).info("flags.stale")  # the outage itself is said once, by its own line
                held = self.snapshot()
                since = held.stale_since or self._clock()
                self._replace(replace(held, faults=held.faults | {fault}, stale_since=since))

    def wait_until(self, condition: Callable[[Snapshot], bool], timeout_s: float) -> bool:
        """Block until a snapshot meets the condition; False when none did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._snapshot), timeout_s)

    def on_change(self, listener: OnChange) -> Callable[[], None]:
        """Call `listener(before, after)` after every snapshot with other flags or faults; returns its removal.

        It runs in the thread that read the flags, which others wait for: keep it short. What it raises is logged.
        """
        with self._changed:
            self._listeners = [*self._listeners, listener]

        def remove() -> None:
            with self._changed:
                self._listeners = [each for each in self._listeners if each is not listener]

        return remove

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
            left = self._snapshot.faults - {fault}
            self._replace(
                replace(self._snapshot, faults=left, stale_since=self._snapshot.stale_since if left else None)
            )

    def _read_failed(self, error: Transient) -> None:
        if not self.loaded:
            log.bind(error=str(error)).warning("flags.defaults_serve")
            self._replace(self._fresh(NEVER_READ, self._defaults(), {}, frozenset({"database"})))
            return
        self.mark("database", present=True)

    def _fresh(
        self,
        state: Generation,
        flags: Mapping[str, FlagDefinition],
        segments: Mapping[str, Segment],
        faults: frozenset[str],
    ) -> Snapshot:
        since = (self._snapshot.stale_since or self._clock()) if faults else None
        return Snapshot(
            state=state,
            flags=flags,
            segments=segments,
            faults=faults,
            stale_since=since,
            evaluation_context=self._evaluation_context(),
        )

    def _replace(self, snapshot: Snapshot) -> None:
        before, self._snapshot = self._snapshot, snapshot
        self._changed.notify_all()
        for listener in self._listeners:
            try:
                listener(before, snapshot)
            except Exception as error:  # noqa: BLE001 - one listener's mistake must not keep a change from the others
                log.bind(listener=repr(listener), error=repr(error)).error("flags.listener_failed")

    def _count_unknown(self, name: str) -> None:
        with self._counting:
            if name not in self._unknown and len(self._unknown) >= MAX_UNKNOWN_NAMES:
                return
            if name not in self._unknown:
                log.bind(flag=name).warning("flags.unknown")
            self._unknown[name] = self._unknown.get(name, 0) + 1
