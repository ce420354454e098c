"""The breaker as a pure state machine: no clock, no network, no randomness; time and tokens are arguments.

CLOSED lets calls through and keeps the last `window_calls` outcomes. A failure that finds `failure_threshold`
failures among at least `minimum_calls` outcomes opens the circuit for `open_s` seconds. The first call after
that makes it HALF_OPEN: `half_open_permits` probes may pass, a success of all of them closes it, one failure
opens it again. A probe that never reports loses its permit after `permit_s`.

Only a failure can open a closed circuit. That makes recording successes in batches equal to recording them
one by one, which is what lets a worker keep them to itself for a moment (see `circuits`).

`decide.lua` is the same machine inside Redis; a test drives both with the same calls and compares every
reply.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """Where a circuit stands; FORCED_OPEN and METRICS_ONLY are settings, shown to people as states."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Outcome(StrEnum):
    """How a call ended. IGNORED says nothing about the dependency and gives a probe's permit back."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    IGNORED = "IGNORED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """When a circuit opens, for how long, and how it is tried again. Raises `ValueError` on nonsense."""

    failure_threshold: int = 5
    minimum_calls: int = 1
    window_calls: int = 10
    open_s: float = 60.0
    half_open_permits: int = 1
    permit_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("failure_threshold", "minimum_calls", "window_calls", "half_open_permits"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, was {getattr(self, name)}")
        for name in ("open_s", "permit_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0 seconds, was {getattr(self, name)}")
        if self.window_calls < max(self.failure_threshold, self.minimum_calls):
            raise ValueError(
                f"window_calls must hold failure_threshold = {self.failure_threshold} and minimum_calls = "
                f"{self.minimum_calls}, was {self.window_calls}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """All that is known about one circuit. `window` holds "S" and "F", the newest last."""

    state: State = State.CLOSED
    generation: int = 0  # grows with every transition; results of an older one are refused
    window: str = ""
    open_until: float = 0.0  # seconds on the clock of the caller
    passed: int = 0  # probes that succeeded since the circuit became half-open
    permits: tuple[tuple[str, float], ...] = ()  # (token, expiry) of the probes under way

    @property
    def failures(self) -> int:
        return self.window.count("F")


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to make one call; a probe carries a token, an ordinary call does not."""

    generation: int
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of state, and why it came about."""

    before: State
    after: State
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a decision did: the circuit afterwards, the permit (None: refused), the transition if any."""

    circuit: Circuit
    permit: Permit | None = None
    retry_after_s: float = 0.0  # for a refused call: when asking again may succeed
    transition: Transition | None = None


def acquire(
    circuit: Circuit,
    config: Config,
    *,
    now: float,
    token: str,
    generation: int = 0,
    successes: int = 0,
    enforce: bool = True,
) -> Step:
    """Ask for the right to call.

    `successes` are the caller's results of `generation` that it has not shared yet. With `enforce` false the
    call always passes and nothing changes but the window: the circuit only measures.
    """
    circuit = _share(circuit, config, generation, successes)
    if circuit.state is State.CLOSED or not enforce:
        return Step(circuit=circuit, permit=Permit(circuit.generation))
    if circuit.state is State.OPEN:
        if now < circuit.open_until:
            return Step(circuit=circuit, retry_after_s=circuit.open_until - now)
        half_open = _moved(circuit, State.HALF_OPEN)
        return _probe(half_open, config, now, token, _transition(circuit, half_open, "the open interval is over"))
    return _probe(circuit, config, now, token, None)


def record(
    circuit: Circuit,
    config: Config,
    permit: Permit,
    outcome: Outcome,
    *,
    now: float,
    successes: int = 0,
    enforce: bool = True,
) -> Step:
    """Report how a permitted call ended; a result of another generation or permit changes nothing."""
    if permit.generation != circuit.generation:
        return Step(circuit=circuit)
    if circuit.state is State.CLOSED:
        circuit = _share(circuit, config, permit.generation, successes)
        return _record_closed(circuit, config, outcome, now, enforce=enforce)
    if circuit.state is State.HALF_OPEN:
        return _record_probe(circuit, config, permit, outcome, now)
    return Step(circuit=circuit)


def close(circuit: Circuit, reason: str) -> Step:
    """Closed from now on with an empty window, by a person's decision; results under way no longer count."""
    closed = _moved(circuit, State.CLOSED)
    return Step(circuit=closed, transition=_transition(circuit, closed, reason))


def _share(circuit: Circuit, config: Config, generation: int, successes: int) -> Circuit:
    if successes < 1 or circuit.state is not State.CLOSED or generation != circuit.generation:
        return circuit
    return replace(circuit, window=_window(circuit, config, "S" * min(successes, config.window_calls)))


def _window(circuit: Circuit, config: Config, outcomes: str) -> str:
    return (circuit.window + outcomes)[-config.window_calls :]


def _record_closed(circuit: Circuit, config: Config, outcome: Outcome, now: float, *, enforce: bool) -> Step:
    if outcome is Outcome.IGNORED:
        return Step(circuit=circuit)
    circuit = replace(circuit, window=_window(circuit, config, outcome.value[0]))
    enough = len(circuit.window) >= config.minimum_calls and circuit.failures >= config.failure_threshold
    if outcome is Outcome.SUCCESS or not enforce or not enough:
        return Step(circuit=circuit)
    reason = f"{circuit.failures} of the last {len(circuit.window)} calls failed"
    return _open(circuit, config, now, reason)


def _record_probe(circuit: Circuit, config: Config, permit: Permit, outcome: Outcome, now: float) -> Step:
    live = _live(circuit, now)
    if all(token != permit.token for token, _ in live):
        return Step(circuit=circuit)
    if outcome is Outcome.FAILURE:
        return _open(circuit, config, now, "a probe failed")
    left = tuple(held for held in live if held[0] != permit.token)
    passed = circuit.passed + (outcome is Outcome.SUCCESS)
    if passed < config.half_open_permits:
        return Step(circuit=replace(circuit, permits=left, passed=passed))
    closed = _moved(circuit, State.CLOSED)
    return Step(circuit=closed, transition=_transition(circuit, closed, f"{passed} of {passed} probes succeeded"))


def _open(circuit: Circuit, config: Config, now: float, reason: str) -> Step:
    opened = replace(_moved(circuit, State.OPEN), open_until=now + config.open_s)
    return Step(circuit=opened, transition=_transition(circuit, opened, reason))


def _probe(circuit: Circuit, config: Config, now: float, token: str, transition: Transition | None) -> Step:
    live = _live(circuit, now)
    # At least one: the number of permits may have been lowered since the last probe succeeded.
    if len(live) >= max(1, config.half_open_permits - circuit.passed):
        soonest = min(expiry for _, expiry in live) - now
        return Step(circuit=circuit, retry_after_s=soonest, transition=transition)
    permits = (*live, (token, now + config.permit_s))
    permit = Permit(circuit.generation, token)
    return Step(circuit=replace(circuit, permits=permits), permit=permit, transition=transition)


def _live(circuit: Circuit, now: float) -> tuple[tuple[str, float], ...]:
    return tuple(held for held in circuit.permits if held[1] > now)


def _moved(circuit: Circuit, state: State) -> Circuit:
    return Circuit(state=state, generation=circuit.generation + 1)


def _transition(before: Circuit, after: Circuit, reason: str) -> Transition:
    return Transition(before=before.state, after=after.state, reason=reason)
