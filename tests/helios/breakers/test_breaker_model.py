"""The pure breaker against a plain model of it, and batches against single calls, at random."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from helios.breakers.core import machine
from helios.breakers.core.config import Config
from helios.breakers.core.machine import At, Circuit, Outcome, Permit, State
from helios.breakers.core.sliding_window import SLOTS
from tests.support.breakers import configs


class Plain:
    """The breaker as one would first write it: a list of all calls, and everything counted anew every time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = "CLOSED"
        self.epoch = 0
        self.calls: list[tuple[float, str]] = []
        self.reopens_at = self.closed_at = 0.0
        self.row = 0  # openings in a row
        self.good = 0
        self.probes: dict[str, float] = {}

    def go(self, state: str) -> None:
        self.state, self.epoch = state, self.epoch + 1
        self.calls, self.good, self.probes = [], 0, {}

    def length(self, nth: int, chance: float) -> float:
        config, length = self.config, self.config.open_s
        for _ in range(nth - 1):
            length *= config.open_multiplier
        most = config.open_max_s or math.inf
        return min(min(length, most) * (1 + config.open_jitter * (2 * chance - 1)), most)

    def open(self, now: float, chance: float) -> None:
        if self.state == "CLOSED" and now - self.closed_at >= self.length(max(1, self.row), 0.5):
            self.row = 0
        self.row += 1
        self.go("OPEN")
        self.reopens_at = now + self.length(self.row, chance)

    def window(self, now: float) -> list[str]:
        kept = self.calls
        if self.config.window_s:
            width = math.floor(self.config.window_s * 1000 / SLOTS)
            newest = math.floor(now * 1000)
            kept = [call for call in kept if math.floor(call[0] * 1000) // width * width > newest - width * SLOTS]
        return [letter for _, letter in kept][-self.config.window_calls :]

    def limit(self, now: float) -> bool:
        seen, config = self.window(now), self.config
        if len(seen) < config.minimum_calls:
            return False
        failed, slow = sum(x in "Ff" for x in seen), sum(x in "sf" for x in seen)
        return (
            (config.failure_threshold > 0 and failed >= config.failure_threshold)
            or (config.failure_rate > 0 and failed / len(seen) >= config.failure_rate)
            or (config.slow_call_rate > 0 and slow / len(seen) >= config.slow_call_rate)
        )

    def ask(self, now: float, token: str, *, enforce: bool) -> bool:
        if self.state == "OPEN" and now >= self.reopens_at:
            self.go("HALF_OPEN")
        if self.state == "CLOSED":
            return True
        alive = [t for t, end in self.probes.items() if end > now]
        if self.state == "HALF_OPEN" and len(alive) + self.good < self.config.half_open_permits:
            self.probes[token] = now + self.config.permit_s
            return True
        return not enforce

    def tell(self, epoch: int, token: str, letter: str, now: float, chance: float, *, enforce: bool) -> None:
        if epoch != self.epoch:
            return
        if token and self.state == "HALF_OPEN":
            self.tell_probe(token, letter, now, chance)
        elif letter != "-" and (self.state == "CLOSED" or not enforce):
            self.calls.append((now, letter))
            if self.state == "CLOSED" and self.limit(now):
                self.open(now, chance)

    def tell_probe(self, token: str, letter: str, now: float, chance: float) -> None:
        if self.probes.pop(token, now) <= now:
            return
        if letter in "Ff" or (letter == "s" and self.config.slow_call_rate):
            self.open(now, chance)
        elif letter != "-":
            self.good += 1
            if self.good == self.config.half_open_permits:
                self.go("CLOSED")
                self.closed_at = now


class Twins(RuleBasedStateMachine):
    """Any order of calls, results (late ones too) and passing time: the machine and the plain model agree."""

    @initialize(config=configs(), enforce=st.booleans())
    def start(self, config: Config, enforce: bool) -> None:
        self.config, self.plain, self.circuit = config, Plain(config), Circuit()
        self.now, self.asked, self.enforce = 1_000.0, 0, enforce
        self.under_way: list[Permit] = []

    @rule(seconds=st.sampled_from([0.05, 0.5, 1.0, 3.0, 4.0, 15.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_starts(self) -> None:
        self.asked += 1
        token, at = f"t{self.asked}", At(now=self.now, enforce=self.enforce)
        step = machine.acquire(self.circuit, self.config, at, token=token)
        self.circuit = step.circuit
        assert (step.permit is not None) == self.plain.ask(self.now, token, enforce=self.enforce)
        if step.permit is None:
            assert step.retry_after_s > 0
        else:
            assert step.permit.token in ("", token)
            self.under_way.append(step.permit)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(list(Outcome)), again=st.booleans(), chance=st.floats(0, 1))
    def a_call_ends(self, data: st.DataObject, outcome: Outcome, again: bool, chance: float) -> None:
        index = data.draw(st.integers(0, len(self.under_way) - 1))
        permit = self.under_way[index] if again else self.under_way.pop(index)
        self.plain.tell(permit.generation, permit.token, outcome.value, self.now, chance, enforce=self.enforce)
        at = At(now=self.now, chance=chance, enforce=self.enforce)
        self.circuit = machine.record(self.circuit, self.config, at, permit=permit, outcome=outcome).circuit

    @rule()
    def a_person_closes_it(self) -> None:
        self.plain.go("CLOSED")
        self.plain.row = 0
        self.circuit = machine.close(self.circuit, "by hand").circuit

    @rule()
    def the_flag_is_turned(self) -> None:
        self.enforce = not self.enforce

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "plain"):
            return
        assert (self.circuit.state.value, self.circuit.generation) == (self.plain.state, self.plain.epoch)
        at = At(now=self.now, enforce=self.enforce)
        seen = machine.share(self.circuit, self.config, at, generation=0, unshared="").circuit
        assert sorted(seen.letters) == sorted(self.plain.window(self.now))
        if self.circuit.state is State.OPEN:
            assert abs(self.circuit.open_until - self.plain.reopens_at) < 1e-6
        alive = [token for token, expiry in self.circuit.permits if expiry > self.now]
        assert len(alive) + self.circuit.passed <= self.config.half_open_permits


TestTwins = Twins.TestCase
TestTwins.settings = settings(stateful_step_count=40, deadline=None)

moments = st.lists(st.tuples(st.sampled_from("SSSFsf"), st.sampled_from([0.0, 0.0, 0.1, 3.0])), max_size=50)


@given(config=configs(), story=moments, enforce=st.booleans(), data=st.data())
def test_sharing_successes_in_batches_equals_recording_them_one_by_one(config, story, enforce, data):
    """A batch is told before time passes or anything else is; then nobody can tell the difference."""
    single = batched = Circuit()
    waiting, now = 0, 1_000.0

    def told(circuit: Circuit) -> Circuit:
        at = At(now=now, enforce=enforce)
        return machine.share(circuit, config, at, generation=0, unshared=f"0S{waiting}").circuit

    for letter, seconds in story:
        at, outcome = At(now=now, enforce=enforce), Outcome(letter)
        single = machine.record(single, config, at, permit=Permit(0), outcome=outcome).circuit
        if outcome is Outcome.SUCCESS:
            waiting += 1
        else:
            batched = machine.record(
                batched, config, at, permit=Permit(0), outcome=outcome, unshared=f"0S{waiting}"
            ).circuit
            waiting = 0
        if seconds or data.draw(st.booleans()):
            batched, waiting = told(batched), 0
            now += seconds
    batched = told(batched)
    at = At(now=now, enforce=enforce)
    fresh = [machine.share(each, config, at, generation=0, unshared="").circuit for each in (single, batched)]
    assert replace(fresh[1], window="") == replace(fresh[0], window="")
    assert sorted(fresh[1].letters) == sorted(fresh[0].letters)


@given(config=configs(), before=st.text("SFsf", max_size=8), letter=st.sampled_from("SFsf"), number=st.integers(1, 9))
def test_a_run_of_equal_outcomes_opens_a_circuit_exactly_where_single_ones_would(config, before, letter, number):
    at = At(now=1_000.0)
    start = Circuit()
    for each in before:
        start = machine.record(start, config, at, permit=Permit(0), outcome=Outcome(each)).circuit
    single = start
    for _ in range(number):
        single = machine.record(single, config, at, permit=Permit(0), outcome=Outcome(letter)).circuit
    together = machine.share(start, config, at, generation=0, unshared=f"0{letter}{number}").circuit
    assert together.state is single.state


@pytest.mark.parametrize("unshared", ["", "0S0", "7000S2"], ids=["nothing", "no calls", "calls that are too old"])
def test_a_window_that_ages_opens_no_circuit_by_itself(unshared):
    """Found by the batches above: two successes leave, the slow call stays alone, and nothing new was recorded."""
    slow = {"slow_call_s": 1.0, "slow_call_rate": 0.5}
    config = Config(failure_threshold=2, minimum_calls=1, window_calls=3, window_s=6.0, **slow)
    circuit = Circuit()
    for letter, now in (("S", 1_000.0), ("S", 1_000.0), ("s", 1_003.0)):
        circuit = machine.record(circuit, config, At(now=now), permit=Permit(0), outcome=Outcome(letter)).circuit
    at = At(now=1_006.0)
    aged = machine.share(circuit, config, at, generation=0, unshared=unshared)
    assert (aged.circuit.letters, aged.transition) == ("s", None)
    assert machine.share(circuit, config, at, generation=0, unshared="0s1").transition is not None
