"""The pure breaker: each rule by example, then all of them at random against a plain model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from helios.breakers import core
from helios.breakers.core import Circuit, Config, Outcome, Permit, State, Step

CONFIG = Config(failure_threshold=3, minimum_calls=4, window_calls=6, open_s=10, half_open_permits=1, permit_s=5)


def fail(circuit: Circuit, times: int = 1, *, config: Config = CONFIG, now: float = 0.0, **options) -> Step:
    step = Step(circuit=circuit)
    for _ in range(times):
        permit = Permit(step.circuit.generation)
        step = core.record(step.circuit, config, permit, Outcome.FAILURE, now=now, **options)
    return step


def opened(now: float = 0.0) -> Circuit:
    return fail(Circuit(), 4, now=now).circuit


def half_open(config: Config = CONFIG) -> tuple[Circuit, Permit]:
    step = core.acquire(opened(), config, now=10.0, token="a")
    assert step.permit is not None
    return step.circuit, step.permit


def test_a_new_circuit_lets_calls_through():
    step = core.acquire(Circuit(), CONFIG, now=0.0, token="a")
    assert step.permit == Permit(0)
    assert step.transition is None


def test_it_opens_at_the_failure_that_reaches_the_threshold_and_not_before():
    before = fail(Circuit(), 3)  # three failures, but fewer than the minimum of four calls
    assert before.circuit.state is State.CLOSED
    after = fail(before.circuit)
    assert after.circuit.state is State.OPEN
    assert after.circuit.open_until == 10.0
    assert after.transition == core.Transition(
        before=State.CLOSED, after=State.OPEN, reason="4 of the last 4 calls failed"
    )


def test_successes_push_old_failures_out_of_the_window():
    circuit = fail(Circuit(), 2).circuit
    circuit = core.acquire(circuit, CONFIG, now=0, token="a", generation=0, successes=6).circuit
    assert circuit.window == "SSSSSS"
    assert fail(circuit, 2).circuit.state is State.CLOSED


def test_a_success_never_opens_a_circuit():
    circuit = replace(Circuit(), window="FFF")
    step = core.record(circuit, CONFIG, Permit(0), Outcome.SUCCESS, now=0)
    assert step.circuit.window == "FFFS"
    assert step.circuit.state is State.CLOSED


def test_an_open_circuit_tells_how_long_it_stays_so():
    step = core.acquire(opened(now=100.0), CONFIG, now=103.0, token="a")
    assert step.permit is None
    assert step.retry_after_s == 7.0


def test_the_first_call_after_the_interval_is_the_only_probe():
    circuit, permit = half_open()
    assert circuit.state is State.HALF_OPEN
    assert permit.token == "a"
    second = core.acquire(circuit, CONFIG, now=12.0, token="b")
    assert second.permit is None
    assert second.retry_after_s == 3.0  # when the first probe's permit expires


def test_a_successful_probe_closes_the_circuit_with_an_empty_window():
    circuit, permit = half_open()
    step = core.record(circuit, CONFIG, permit, Outcome.SUCCESS, now=11.0)
    assert step.circuit == Circuit(generation=3)
    assert step.transition is not None
    assert step.transition.reason == "1 of 1 probes succeeded"


def test_a_failed_probe_opens_it_again_for_a_whole_interval():
    circuit, permit = half_open()
    step = core.record(circuit, CONFIG, permit, Outcome.FAILURE, now=11.0)
    assert step.circuit.state is State.OPEN
    assert step.circuit.open_until == 21.0


def test_an_ignored_error_gives_the_probes_permit_back():
    circuit, permit = half_open()
    step = core.record(circuit, CONFIG, permit, Outcome.IGNORED, now=11.0)
    assert step.circuit.state is State.HALF_OPEN
    assert step.circuit.permits == ()
    assert core.acquire(step.circuit, CONFIG, now=11.0, token="b").permit is not None


def test_an_ignored_error_leaves_a_closed_circuit_as_it_is():
    assert core.record(Circuit(), CONFIG, Permit(0), Outcome.IGNORED, now=0).circuit == Circuit()


def test_a_probe_that_never_reports_loses_its_permit_and_its_late_result_is_refused():
    circuit, permit = half_open()
    step = core.acquire(circuit, CONFIG, now=15.0, token="b")
    assert step.permit is not None
    late = core.record(step.circuit, CONFIG, permit, Outcome.FAILURE, now=15.0)
    assert late.circuit == step.circuit
    assert late.transition is None


def test_a_result_of_an_earlier_generation_is_refused():
    circuit = opened()
    reopened = core.close(circuit, "by hand").circuit
    assert core.record(reopened, CONFIG, Permit(0), Outcome.FAILURE, now=0).circuit == reopened


def test_a_result_of_a_call_that_passed_an_open_circuit_counts_for_nothing():
    circuit = opened()
    assert core.record(circuit, CONFIG, Permit(circuit.generation), Outcome.FAILURE, now=1).circuit == circuit


def test_several_probes_may_be_under_way_and_all_must_succeed():
    config = replace(CONFIG, half_open_permits=2)
    circuit, first = half_open(config)
    step = core.acquire(circuit, config, now=10.0, token="b")
    assert step.permit is not None
    assert core.acquire(step.circuit, config, now=10.0, token="c").permit is None
    one = core.record(step.circuit, config, first, Outcome.SUCCESS, now=10.0)
    assert one.circuit.state is State.HALF_OPEN
    assert core.acquire(one.circuit, config, now=10.0, token="d").permit is None
    assert core.record(one.circuit, config, step.permit, Outcome.SUCCESS, now=10.0).circuit.state is State.CLOSED


def test_lowering_the_number_of_probes_while_half_open_does_not_lock_the_circuit():
    circuit = replace(half_open()[0], passed=2, permits=())
    step = core.acquire(circuit, CONFIG, now=11.0, token="z")
    assert step.permit is not None
    assert core.record(step.circuit, CONFIG, step.permit, Outcome.SUCCESS, now=11.0).circuit.state is State.CLOSED


def test_a_circuit_that_only_measures_keeps_counting_and_lets_everything_pass():
    step = fail(Circuit(), 10, enforce=False)
    assert step.circuit.state is State.CLOSED
    assert step.circuit.failures == 6
    passing = core.acquire(opened(), CONFIG, now=1.0, token="a", enforce=False)
    assert passing.permit is not None
    assert passing.circuit.state is State.OPEN


def test_closing_by_hand_empties_the_window_and_starts_a_generation():
    step = core.close(replace(Circuit(), window="FF"), "asked for")
    assert step.circuit == Circuit(generation=1)
    assert step.transition is not None
    assert step.transition.reason == "asked for"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"failure_threshold": 0}, "failure_threshold must be at least 1, was 0"),
        ({"half_open_permits": 0}, "half_open_permits must be at least 1, was 0"),
        ({"open_s": 0.0}, "open_s must be above 0 seconds, was 0.0"),
        ({"permit_s": float("nan")}, "permit_s must be above 0 seconds, was nan"),
        ({"window_calls": 4}, "window_calls must hold failure_threshold = 5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        Config(**changes)


@given(
    outcomes=st.lists(st.sampled_from(["S", "F"]), max_size=40),
    threshold=st.integers(1, 4),
    minimum=st.integers(1, 6),
    extra=st.integers(0, 4),
)
def test_sharing_successes_in_batches_equals_recording_them_one_by_one(outcomes, threshold, minimum, extra):
    config = Config(failure_threshold=threshold, minimum_calls=minimum, window_calls=max(threshold, minimum) + extra)
    single = batched = Circuit()
    waiting = 0
    for outcome in outcomes:
        kind = Outcome.SUCCESS if outcome == "S" else Outcome.FAILURE
        single = core.record(single, config, Permit(0), kind, now=0).circuit
        if kind is Outcome.SUCCESS:
            waiting += 1
        else:
            batched = core.record(batched, config, Permit(0), kind, now=0, successes=waiting).circuit
            waiting = 0
    batched = core.acquire(batched, config, now=0, token="a", generation=0, successes=waiting).circuit
    assert replace(batched, permits=()) == replace(single, permits=())


class Plain:
    """The breaker as one would first write it: lists, and everything counted anew every time."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = "CLOSED"
        self.epoch = 0
        self.outcomes: list[str] = []
        self.reopens_at = 0.0
        self.good = 0
        self.probes: dict[str, float] = {}

    def go(self, state: str, now: float) -> None:
        self.state, self.epoch = state, self.epoch + 1
        self.outcomes, self.good, self.probes = [], 0, {}
        self.reopens_at = now + self.config.open_s

    def ask(self, now: float, token: str) -> bool:
        if self.state == "OPEN" and now >= self.reopens_at:
            self.go("HALF_OPEN", now)
        if self.state == "CLOSED":
            return True
        alive = [t for t, end in self.probes.items() if end > now]
        if self.state == "OPEN" or len(alive) + self.good >= self.config.half_open_permits:
            return False
        self.probes[token] = now + self.config.permit_s
        return True

    def tell(self, epoch: int, token: str, outcome: str, now: float) -> None:
        if epoch != self.epoch or self.state == "OPEN":
            return
        if self.state == "CLOSED":
            if outcome != "IGNORED":
                self.outcomes.append(outcome)
            recent = self.outcomes[-self.config.window_calls :]
            enough = len(recent) >= self.config.minimum_calls
            if outcome == "FAILURE" and enough and recent.count("FAILURE") >= self.config.failure_threshold:
                self.go("OPEN", now)
        elif self.probes.get(token, now) > now:
            del self.probes[token]
            if outcome == "FAILURE":
                self.go("OPEN", now)
            elif outcome == "SUCCESS":
                self.good += 1
                if self.good == self.config.half_open_permits:
                    self.go("CLOSED", now)


class Twins(RuleBasedStateMachine):
    """Any order of calls, results (late ones too) and passing time: the machine and the plain model agree."""

    @initialize(threshold=st.integers(1, 3), minimum=st.integers(1, 4), permits=st.integers(1, 3))
    def start(self, threshold: int, minimum: int, permits: int) -> None:
        self.config = Config(
            failure_threshold=threshold,
            minimum_calls=minimum,
            window_calls=max(threshold, minimum) + 1,
            open_s=4,
            half_open_permits=permits,
            permit_s=3,
        )
        self.plain = Plain(self.config)
        self.circuit = Circuit()
        self.now = 0.0
        self.under_way: list[Permit] = []
        self.asked = 0

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_starts(self) -> None:
        self.asked += 1
        token = f"t{self.asked}"
        step = core.acquire(self.circuit, self.config, now=self.now, token=token)
        self.circuit = step.circuit
        assert (step.permit is not None) == self.plain.ask(self.now, token)
        if step.permit is None:
            assert step.retry_after_s > 0
        else:
            self.under_way.append(step.permit)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(list(Outcome)), again=st.booleans())
    def a_call_ends(self, data: st.DataObject, outcome: Outcome, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.under_way) - 1))
        permit = self.under_way[index] if again else self.under_way.pop(index)
        self.plain.tell(permit.generation, permit.token, outcome.value, self.now)
        self.circuit = core.record(self.circuit, self.config, permit, outcome, now=self.now).circuit

    @rule()
    def a_person_closes_it(self) -> None:
        self.plain.go("CLOSED", self.now)
        self.circuit = core.close(self.circuit, "by hand").circuit

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "plain"):
            return
        assert self.circuit.state.value == self.plain.state
        assert self.circuit.generation == self.plain.epoch
        window = [outcome[0] for outcome in self.plain.outcomes[-self.config.window_calls :]]
        assert list(self.circuit.window) == window
        live = [token for token, expiry in self.circuit.permits if expiry > self.now]
        assert len(live) + self.circuit.passed <= self.config.half_open_permits


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
