"""A process circuit with a clock, a flag and a store that the test holds in its hands."""

from __future__ import annotations

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from helios.breakers.catalog import Settings
from helios.breakers.circuits import ProcessCircuit
from helios.breakers.core.config import Config
from helios.breakers.core.machine import Circuit, Outcome
from helios.breakers.errors import CircuitOpen, SharedStateAway
from helios.breakers.journal import Entry

CONFIG = Config(failure_threshold=2, minimum_calls=2, window_calls=4, open_s=30, permit_s=30)


class Watched:
    """A store that counts what it is asked, and can be made unreachable."""

    def __init__(self, store) -> None:
        self.store, self.asked, self.away = store, 0, False

    def __getattr__(self, name: str):
        def ask(*args, **kwargs):
            self.asked += 1
            if self.away:
                raise SharedStateAway("gone")
            return getattr(self.store, name)(*args, **kwargs)

        return ask


class Notes:
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)

    @property
    def moves(self) -> list[str]:
        return [f"{entry.before}>{entry.after}" for entry in self.entries]


class Bench:
    """A circuit with a clock, a flag and a store that the test holds in its hands."""

    def __init__(self, store, **changes) -> None:
        self.now, self.flag, self.heard, self.woken = 1000.0, True, [], 0
        self.store, self.notes = Watched(store), Notes()
        self.base = store
        self.circuit = self.worker(Settings(config=CONFIG, **changes), self.store, self.notes)

    def worker(self, settings: Settings, store=None, notes=None) -> ProcessCircuit:
        return ProcessCircuit(
            "c",
            settings,
            store=store or self.base,
            journal=notes or Notes(),
            acting=lambda: self.flag,
            on_changes=self.heard.append,
            on_unshared=self.wake,
            clock=lambda: self.now,
        )

    def wake(self) -> None:
        self.woken += 1

    @property
    def shared(self) -> Circuit:
        """The circuit as Redis has it."""
        return self.base.peek("c", self.circuit.settings.config).step.circuit

    def call(self, outcome: Outcome = Outcome.SUCCESS, *, reducing: bool = False) -> None:
        self.circuit.record(self.circuit.acquire(reducing=reducing), outcome)

    def fail(self, times: int = 2) -> None:
        for _ in range(times):
            self.call(Outcome.FAILURE)

    def refused(self, **options) -> CircuitOpen:
        with pytest.raises(CircuitOpen) as caught:
            self.circuit.acquire(**options)
        return caught.value


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Any sensible mixture of limits, windows and intervals, small enough that everything happens soon."""
    threshold = draw(st.integers(0, 4))
    rate = draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    assume(threshold or rate)
    slow_rate = draw(st.sampled_from([0.0, 0.0, 0.5, 1.0]))
    minimum, timed = draw(st.integers(1, 6)), draw(st.sampled_from([0.0, 6.0, 20.0]))
    calls = max(threshold, minimum) + draw(st.integers(0, 4))
    multiplier = draw(st.sampled_from([1.0, 2.0]))
    return Config(
        failure_threshold=threshold,
        failure_rate=rate,
        slow_call_s=1.0 if slow_rate else 0.0,
        slow_call_rate=slow_rate,
        minimum_calls=minimum,
        window_calls=0 if timed and draw(st.booleans()) else calls,
        window_s=timed,
        open_s=4,
        open_multiplier=multiplier,
        open_max_s=10 if multiplier > 1 else 0,
        open_jitter=draw(st.sampled_from([0.0, 0.5])),
        half_open_permits=draw(st.integers(1, 3)),
        permit_s=3,
    )
