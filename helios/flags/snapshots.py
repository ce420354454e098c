"""The flags of this process: one immutable snapshot, ready to be asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Protocol

from helios.control import snapshot
from helios.control.generations import Generation
from helios.flags.core.context import NOBODY, FlagContext
from helios.flags.core.definition import UNKNOWN, Decision, FlagDefinition
from helios.flags.core.evaluation import Evaluator, compile_flags
from helios.flags.core.evaluation_context import NOWHERE, EvaluationContext
from helios.flags.core.parts import Segment, VariantResult
from helios.flags.core.variants import DISABLED

MAX_UNKNOWN_NAMES = 1_000  # a caller that makes names up must not fill the memory
LIVE, STALE = "LIVE", "STALE"
_NO_TIME = datetime.min.replace(tzinfo=UTC)  # for evaluators that do not look at the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(snapshot.Snapshot):
    """Every flag at one state of the tables, ready to be asked."""

    flags: Mapping[str, FlagDefinition]
    segments: Mapping[str, Segment] = field(default_factory=dict)
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
    def status(self) -> str:
        """`LIVE`, or `STALE` while a newer state may exist that this process could not hear of."""
        return STALE if self.faults else LIVE


class Reader(Protocol):
    """Where the flags come from; both methods raise `Transient` when the source cannot be asked."""

    def generation(self) -> Generation:
        """The current generation, by one tiny query."""

    def load(self) -> tuple[Generation, Mapping[str, FlagDefinition], Mapping[str, Segment]]:
        """Every flag and every segment, and a generation that is not newer than they are."""


class FlagStore(snapshot.Store[Snapshot]):
    """Holds the flags of one process, and answers from them.

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
        def load() -> Snapshot:
            state, flags, segments = reader.load()
            return Snapshot(state=state, flags=flags, segments=segments, evaluation_context=evaluation_context())

        def shipped() -> Snapshot:
            return Snapshot(flags=defaults(), evaluation_context=evaluation_context())

        self._clock = clock
        self._unknown: dict[str, int] = {}
        super().__init__("flags", Snapshot(flags={}), load, ask=reader.generation, fallback=shipped)

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

    def unknown(self) -> dict[str, int]:
        """How often each unknown flag was asked for."""
        with self._counting:
            return dict(self._unknown)

    def forget(self) -> None:
        """Return to the state before the first read, without a memory of unknown names."""
        super().forget()
        with self._counting:
            self._unknown = {}

    def renew_locks(self) -> None:
        """Replace locks that another thread held when this process was forked."""
        super().renew_locks()
        self._counting = threading.Lock()  # of its own: counting must not wait for a read of the database

    def _count_unknown(self, name: str) -> None:
        with self._counting:
            if name not in self._unknown and len(self._unknown) >= MAX_UNKNOWN_NAMES:
                return
            if name not in self._unknown:
                self._log.bind(flag=name).warning("flags.unknown")
            self._unknown[name] = self._unknown.get(name, 0) + 1
