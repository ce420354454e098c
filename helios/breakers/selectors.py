"""What a person reads about breakers: how each stands now, and what happened to it."""

from __future__ import annotations

from dataclasses import dataclass

from helios.breakers import process
from helios.breakers.core.config import Mode
from helios.breakers.core.machine import State
from helios.breakers.core.sliding_window import counts, recent
from helios.breakers.errors import SharedStateAway, SharedStateUnreadable, UnknownBreaker
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent, ShownState
from helios.breakers.shared_state import Reply

_SHOWN = {Mode.FORCED_OPEN: ShownState.FORCED_OPEN, Mode.METRICS_ONLY: ShownState.METRICS_ONLY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One breaker as it stands now; while Redis is away `known` is False and `state` the last recorded.

    `readable` is False where Redis answers, and what it holds was left by no breaker.
    `state` is what a person sees, the mode where one is set; `circuit` is where the machine below it stands.
    """

    name: str
    state: str
    known: bool
    readable: bool = True
    mode: str = Mode.NORMAL.value
    circuit: str = State.CLOSED.value
    calls: int = 0
    failures: int = 0
    slow: int = 0
    failure_rate: float = 0.0
    slow_rate: float = 0.0
    open_for_s: float = 0.0
    openings: int = 0
    probes: int = 0
    version: int = 1

    @property
    def refuses(self) -> bool:
        """Whether calls are refused now, by its own measure or a person's."""
        measured = self.known and self.state == ShownState.OPEN and self.open_for_s > 0
        return measured or self.state == ShownState.FORCED_OPEN

    def sentence(self) -> str:
        """The state in plain words."""
        if self.state == ShownState.FORCED_OPEN:
            return "Opened by a person: calls are refused until a person closes it."
        if not self.known:
            fault = "Redis cannot be reached" if self.readable else "What Redis holds of it cannot be read: reset it"
            return f"{fault}; the last state recorded was {ShownState(self.state).label}."
        if self.state == ShownState.METRICS_ONLY:
            return f"Only measures, every call passes. {self._measured()}"
        if self.state == ShownState.HALF_OPEN:
            return f"Being tried again: {self.probes} probe(s) under way."
        return self._opened() if self.state == ShownState.OPEN else f"Calls pass{self._window('; ')}."

    def _measured(self) -> str:
        words = {State.CLOSED: "pass calls", State.OPEN: "be open", State.HALF_OPEN: "be half-open"}
        return f"It would {words[State(self.circuit)]} now{self._window('; ')}."

    def _opened(self) -> str:
        if self.open_for_s > 0:
            return f"Calls are refused for another {self.open_for_s:.0f} s; then the next goes as a probe."
        return "The open interval is over: the next call goes as a probe."

    def _window(self, before: str) -> str:
        if not self.calls:
            return ""
        slow = f", {self.slow} were slow" if self.slow else ""
        return f"{before}{self.failures} of the last {self.calls} calls failed{slow}"


def status(row: CircuitBreaker) -> Status:
    """The breaker as Redis knows it now; the row's last state while Redis is away. Changes nothing."""
    mode = Mode(row.mode)
    try:
        reply = process.current().store.peek(row.name, row.settings().config)
    except SharedStateAway as error:
        state, readable = _SHOWN.get(mode, ShownState(row.last_state)), not isinstance(error, SharedStateUnreadable)
        return Status(
            name=row.name, state=state.value, known=False, readable=readable, mode=row.mode, version=row.version
        )
    return _status(row, mode, reply)


def statuses() -> list[Status]:
    """All breakers as they stand now."""
    return [status(row) for row in CircuitBreaker.objects.all()]


def find(name: str) -> CircuitBreaker:
    """The breaker `name`; raises `UnknownBreaker` with the names there are."""
    row = CircuitBreaker.objects.filter(name=name).first()
    if row is None:
        raise unknown(name)
    return row


def history(name: str, limit: int = 20) -> list[CircuitBreakerEvent]:
    """What happened to a breaker, also to one that is deleted by now; the newest first."""
    events = list(CircuitBreakerEvent.objects.filter(breaker__name=name)[:limit])
    if not events:
        find(name)
    return events


def unknown(name: str) -> UnknownBreaker:
    """The error for a name that no row has."""
    known = ", ".join(CircuitBreaker.objects.order_by("name").values_list("name", flat=True)) or "none"
    return UnknownBreaker(f"no circuit breaker is named {name!r}; there are {known}")


def _status(row: CircuitBreaker, mode: Mode, reply: Reply) -> Status:
    circuit = reply.step.circuit
    counted = counts(recent(circuit.window, row.settings().config, reply.now))
    state = _SHOWN[mode].value if mode in _SHOWN else circuit.state.value
    return Status(
        name=row.name,
        state=state,
        known=True,
        mode=row.mode,
        circuit=circuit.state.value,
        calls=counted.calls,
        failures=counted.failures,
        slow=counted.slow,
        failure_rate=round(counted.failure_rate, 4),
        slow_rate=round(counted.slow_rate, 4),
        open_for_s=round(reply.open_for_s, 3) if circuit.state is State.OPEN else 0.0,
        openings=circuit.openings,
        probes=reply.probes,
        version=row.version,
    )
