"""The breaker as a pure state machine: no clock, no network, no randomness; time, tokens and chance are arguments.

CLOSED lets calls through and keeps their outcomes in a window (see `sliding_window`). Every outcome that is recorded, a
success too, is followed by the question whether the window holds at least `minimum_calls` and a limit is reached:
`failure_threshold` failures, a share of failures of `failure_rate`, a share of slow calls of `slow_call_rate`.
If so the circuit is OPEN for `open_s` seconds. The first call after that makes it HALF_OPEN:
`half_open_permits` probes may pass, a success of all of them closes it, one that fails (or is slow, where
`slow_call_rate` is set) opens it again. A probe that never reports loses its permit after `permit_s`.

Openings that follow each other take longer: the interval grows by `open_multiplier` each time, up to
`open_max_s`, and begins anew after the circuit stayed closed for as long as it had last been open. `open_jitter`
spreads it to both sides, by the `chance` (0 to 1) that the caller passes in.

**Batches.** Successes may be recorded in one batch: among equal outcomes a limit is reached at the moment the
window first holds `minimum_calls`, or not until the last of them, so looking at these two moments equals looking
after each. That lets a worker keep its successes to itself for a moment (see `circuits`).

**Late results.** Every transition begins a generation, and the result of a call from an earlier one changes
nothing. Only where the state itself began anew (`born`) nobody can tell what the result would be late for:
it counts.

**Measuring.** With `enforce` false the same machine runs and moves, but no call is refused; what passes while it
is open is measured too, and decides nothing.

`decide.lua` is the same machine inside Redis; a test drives both with the same calls and compares every reply.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from helios.breakers.core import sliding_window
from helios.breakers.core.config import Config
from helios.breakers.core.sliding_window import Counts

MAX_OPENINGS: Final = 60  # further ones no longer lengthen the interval
SHORTEST_S: Final = 0.001  # of an open interval, whatever chance says


class State(StrEnum):
    """Where a circuit stands."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class Outcome(StrEnum):
    """How a call ended, as its letter in the window. IGNORED leaves no trace and gives a probe's permit back."""

    SUCCESS = "S"
    FAILURE = "F"
    SLOW_SUCCESS = "s"
    SLOW_FAILURE = "f"
    IGNORED = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """All that is known about one circuit; times are seconds on the clock of the caller."""

    state: State = State.CLOSED
    generation: int = 0  # grows with every transition; results of an earlier one are late
    born: int = 0  # the generation at which this state began, after the one before it was lost
    window: str = ""
    open_until: float = 0.0
    openings: int = 0  # without a closing in between that lasted
    closed_at: float = 0.0
    passed: int = 0  # probes that succeeded since the circuit became half-open
    permits: tuple[tuple[str, float], ...] = ()  # (token, expiry) of the probes under way

    @property
    def counts(self) -> Counts:
        return sliding_window.counts(self.window)

    @property
    def letters(self) -> str:
        return sliding_window.letters(self.window)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """The circumstances of a decision: when, how the dice fell, and whether calls may be refused."""

    now: float
    chance: float = 0.5  # from 0 to 1, for the jitter of an opening; see `chance`
    enforce: bool = True


def acquire(circuit: Circuit, config: Config, at: At, *, token: str, generation: int = 0, unshared: str = "") -> Step:
    """Ask for the right to call.

    `unshared` are outcomes of `generation` that the circuit has not heard of, as a window with ages.
    """
    step = share(circuit, config, at, generation=generation, unshared=unshared)
    circuit = step.circuit
    if circuit.state is State.CLOSED:
        return replace(step, permit=Permit(circuit.generation))
    if circuit.state is State.OPEN and at.now < circuit.open_until:
        step = replace(step, retry_after_s=circuit.open_until - at.now)
    else:
        step = _probe(circuit, config, at.now, token)
    if step.permit is None and not at.enforce:
        return replace(step, permit=Permit(step.circuit.generation), retry_after_s=0.0)
    return step


def record(circuit: Circuit, config: Config, at: At, *, permit: Permit, outcome: Outcome, unshared: str = "") -> Step:
    """Report how a permitted call ended, and `unshared` outcomes before it; a late result changes nothing."""
    step = share(circuit, config, at, generation=permit.generation, unshared=unshared)
    circuit = step.circuit
    if step.transition is not None or (outcome is Outcome.IGNORED and not permit.token):
        return step
    if circuit.state is State.HALF_OPEN and permit.token:
        return _record_probe(circuit, config, at, permit, outcome) or step
    if outcome is Outcome.IGNORED or not _counts(circuit, permit.generation, at):
        return step
    return _count(circuit, config, at, outcome.value, 1, 0)


def share(circuit: Circuit, config: Config, at: At, *, generation: int, unshared: str) -> Step:
    """Count `unshared` outcomes of `generation`; what comes after an opening among them is late."""
    circuit = _in_time(circuit, config, at.now)
    step = Step(circuit=circuit)
    for age_ms, letter, number in sliding_window.runs(unshared) if _counts(circuit, generation, at) else ():
        step = _count(step.circuit, config, at, letter, number, age_ms)
        if step.transition is not None:
            return step
    return step


def close(circuit: Circuit, reason: str) -> Step:
    """Closed from now on with an empty window, by a person's decision; results under way no longer count."""
    closed = _moved(circuit, State.CLOSED)
    return Step(circuit=closed, transition=_transition(circuit, closed, reason))


def late(circuit: Circuit, generation: int) -> bool:
    """Whether results of `generation` come too late for the circuit as it stands."""
    return circuit.born <= generation < circuit.generation


def exceeded(counted: Counts, config: Config) -> str:
    """The limit that these counts reach, in words; empty where none is reached."""
    if counted.calls < max(1, config.minimum_calls):
        return ""
    if (config.failure_threshold and counted.failures >= config.failure_threshold) or (
        config.failure_rate and counted.failure_rate >= config.failure_rate
    ):
        return f"{counted.failures} of the last {counted.calls} calls failed"
    if config.slow_call_rate and counted.slow_rate >= config.slow_call_rate:
        return f"{counted.slow} of the last {counted.calls} calls were slow"
    return ""


def interval(config: Config, openings: int, chance_: float) -> float:
    """How long the circuit stays open at its n-th opening in a row."""
    bare = config.open_s * config.open_multiplier ** (openings - 1)
    capped = min(bare, config.open_max_s) if config.open_max_s else bare
    spread = capped * (1 + config.open_jitter * (2 * chance_ - 1))
    return max(SHORTEST_S, min(spread, config.open_max_s) if config.open_max_s else spread)


def chance(token: str) -> float:
    """A number strictly between 0 and 1 that only depends on the token, evenly spread over tokens."""
    return (zlib.crc32(token.encode()) + 0.5) / 2**32


def _counts(circuit: Circuit, generation: int, at: At) -> bool:
    """Whether an outcome enters the window: the circuit is closed, or it only measures."""
    return not late(circuit, generation) and (circuit.state is State.CLOSED or not at.enforce)


def _count(circuit: Circuit, config: Config, at: At, letter: str, number: int, age_ms: int) -> Step:
    if not sliding_window.enters(config, at.now, number, age_ms):
        return Step(circuit=circuit)  # nothing was recorded, so nothing is asked: an ageing window opens no circuit
    first = min(number, max(1, config.minimum_calls - circuit.counts.calls))
    for part in (first, number - first):
        circuit = replace(circuit, window=sliding_window.add(circuit.window, config, at.now, letter, part, age_ms))
        reason = exceeded(circuit.counts, config) if circuit.state is State.CLOSED else ""
        if reason:
            return _open(circuit, config, at, reason)
    return Step(circuit=circuit)


def _record_probe(circuit: Circuit, config: Config, at: At, permit: Permit, outcome: Outcome) -> Step | None:
    alive = _alive(circuit, at.now)
    if permit.generation != circuit.generation or all(token != permit.token for token, _ in alive):
        return None
    slow = bool(config.slow_call_rate) and outcome in (Outcome.SLOW_SUCCESS, Outcome.SLOW_FAILURE)
    if slow or outcome in (Outcome.FAILURE, Outcome.SLOW_FAILURE):
        return _open(circuit, config, at, "a probe was slow" if outcome is Outcome.SLOW_SUCCESS else "a probe failed")
    left = tuple(held for held in alive if held[0] != permit.token)
    passed = circuit.passed + (outcome is not Outcome.IGNORED)
    if passed < config.half_open_permits:
        return Step(circuit=replace(circuit, permits=left, passed=passed))
    closed = replace(_moved(circuit, State.CLOSED), openings=circuit.openings, closed_at=at.now)
    return Step(circuit=closed, transition=_transition(circuit, closed, f"{passed} of {passed} probes succeeded"))


def _open(circuit: Circuit, config: Config, at: At, reason: str) -> Step:
    before = circuit.openings
    if circuit.state is State.CLOSED and before and at.now - circuit.closed_at >= interval(config, before, 0.5):
        before = 0
    openings = min(before + 1, MAX_OPENINGS)
    until = at.now + interval(config, openings, at.chance)
    opened = replace(_moved(circuit, State.OPEN), open_until=until, openings=openings)
    return Step(circuit=opened, transition=_transition(circuit, opened, reason))


def _probe(circuit: Circuit, config: Config, now: float, token: str) -> Step:
    transition = None
    if circuit.state is State.OPEN:
        half_open = replace(_moved(circuit, State.HALF_OPEN), openings=circuit.openings)
        transition = _transition(circuit, half_open, "the open interval is over")
        circuit = half_open
    alive = _alive(circuit, now)
    # At least one: the number of permits may have been lowered since the last probe succeeded.
    if len(alive) >= max(1, config.half_open_permits - circuit.passed):
        soonest = min(expiry for _, expiry in alive) - now
        return Step(circuit=circuit, retry_after_s=soonest, transition=transition)
    permits = (*alive, (token, now + config.permit_s))
    permit = Permit(circuit.generation, token)
    return Step(circuit=replace(circuit, permits=permits), permit=permit, transition=transition)


def _in_time(circuit: Circuit, config: Config, now: float) -> Circuit:
    """Without what is too old; nothing lasts for longer than an opening takes, or a probe may: clocks are set back."""
    until = min(circuit.open_until, now + interval(config, max(1, circuit.openings), 1.0))
    permits = tuple((token, min(expiry, now + config.permit_s)) for token, expiry in circuit.permits)
    window = sliding_window.recent(circuit.window, config, now)
    closed_at = min(circuit.closed_at, now)
    return replace(circuit, window=window, open_until=until, permits=permits, closed_at=closed_at)


def _alive(circuit: Circuit, now: float) -> tuple[tuple[str, float], ...]:
    return tuple(held for held in circuit.permits if held[1] > now)


def _moved(circuit: Circuit, state: State) -> Circuit:
    return Circuit(state=state, generation=circuit.generation + 1, born=circuit.born)


def _transition(before: Circuit, after: Circuit, reason: str) -> Transition:
    return Transition(before=before.state, after=after.state, reason=reason)
