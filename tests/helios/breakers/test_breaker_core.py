"""The pure breaker: each rule by example."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.breakers.core import machine
from helios.breakers.core.config import Config
from helios.breakers.core.machine import At, Circuit, Outcome, Permit, State, Step

CONFIG = Config(failure_threshold=3, minimum_calls=4, window_calls=6, open_s=10, half_open_permits=1, permit_s=5)
BY_RATE = Config(failure_threshold=0, failure_rate=0.5, minimum_calls=4, window_calls=8, open_s=10)
SLOW = replace(BY_RATE, slow_call_s=1.0, slow_call_rate=0.5)
GROWING = replace(CONFIG, open_multiplier=2, open_max_s=35)
LETTERS = {outcome.value: outcome for outcome in Outcome}


def tell(circuit: Circuit, outcomes: str, *, config: Config = CONFIG, now: float = 0.0, **at) -> Step:
    """Report one outcome after the other, each under the circuit's generation at its time."""
    step = Step(circuit=circuit)
    for letter in outcomes:
        permit = Permit(step.circuit.generation)
        step = machine.record(step.circuit, config, At(now=now, **at), permit=permit, outcome=LETTERS[letter])
    return step


def ask(circuit: Circuit, now: float, by: str = "a", *, config: Config = CONFIG, **options) -> Step:
    enforce = options.pop("enforce", True)
    return machine.acquire(circuit, config, At(now=now, enforce=enforce), token=by, **options)


def end(circuit: Circuit, permit: Permit, outcome: Outcome, now: float, *, config: Config = CONFIG) -> Step:
    return machine.record(circuit, config, At(now=now), permit=permit, outcome=outcome)


def opened(now: float = 0.0, config: Config = CONFIG) -> Circuit:
    return tell(Circuit(), "FFFF", now=now, config=config).circuit


def half_open(config: Config = CONFIG) -> tuple[Circuit, Permit]:
    step = ask(opened(config=config), 10.0, config=config)
    assert step.permit is not None
    return step.circuit, step.permit


def test_a_new_circuit_lets_calls_through():
    step = ask(Circuit(), 0.0)
    assert step.permit == Permit(0)
    assert step.transition is None


def test_it_opens_at_the_failure_that_reaches_the_threshold_and_not_before():
    before = tell(Circuit(), "FFF")  # three failures, but fewer than the minimum of four calls
    assert before.circuit.state is State.CLOSED
    after = tell(before.circuit, "F")
    assert after.circuit.state is State.OPEN
    assert after.circuit.open_until == 10.0
    assert after.transition == machine.Transition(
        before=State.CLOSED, after=State.OPEN, reason="4 of the last 4 calls failed"
    )


def test_successes_push_old_failures_out_of_the_window():
    circuit = tell(Circuit(), "FF").circuit
    circuit = ask(circuit, 0, generation=0, unshared="0S6").circuit
    assert circuit.letters == "SSSSSS"
    assert tell(circuit, "FF").circuit.state is State.CLOSED


def test_a_success_that_completes_the_minimum_of_calls_opens_it_as_a_failure_would():
    step = tell(Circuit(), "FFFS")
    assert step.circuit.state is State.OPEN
    assert step.transition is not None
    assert step.transition.reason == "3 of the last 4 calls failed"


def test_it_opens_at_the_share_of_failures_once_there_are_enough_calls():
    assert tell(Circuit(), "SSF", config=BY_RATE).circuit.state is State.CLOSED
    assert tell(Circuit(), "SSFF", config=BY_RATE).circuit.state is State.OPEN
    assert tell(Circuit(), "SSSFF", config=BY_RATE).circuit.state is State.CLOSED
    assert tell(Circuit(), "SSSFFF", config=BY_RATE).circuit.state is State.OPEN


def test_a_number_and_a_share_may_both_be_set_and_the_first_reached_opens_it():
    config = replace(BY_RATE, failure_threshold=3)
    assert tell(Circuit(), "SSSSFFF", config=config).circuit.state is State.OPEN  # three, and below a half
    assert tell(Circuit(), "SSFF", config=config).circuit.state is State.OPEN  # a half, and only two


def test_it_opens_at_the_share_of_slow_calls_that_succeed_or_fail():
    assert tell(Circuit(), "SSSs", config=SLOW).circuit.state is State.CLOSED
    step = tell(Circuit(), "SSsf", config=SLOW)
    assert step.circuit.state is State.OPEN
    assert step.transition is not None
    assert step.transition.reason == "2 of the last 4 calls were slow"
    assert tell(Circuit(), "ssss", config=BY_RATE).circuit.state is State.CLOSED  # measured, no limit


def test_a_slow_failure_is_a_failure_too():
    step = tell(Circuit(), "SSff", config=BY_RATE)
    assert step.transition is not None
    assert step.transition.reason == "2 of the last 4 calls failed"


def test_failures_that_are_too_old_do_not_count():
    config = replace(CONFIG, window_s=60)
    circuit = tell(Circuit(), "FFF", config=config, now=1_000).circuit
    assert tell(circuit, "F", config=config, now=1_059).circuit.state is State.OPEN
    after = tell(circuit, "F", config=config, now=1_061).circuit
    assert (after.state, after.letters) == (State.CLOSED, "F")


def test_successes_that_have_left_the_window_no_longer_hide_failures():
    config = replace(BY_RATE, window_calls=0, window_s=60, minimum_calls=2)
    circuit = tell(Circuit(), "SSSSSSSS", config=config, now=1_000).circuit
    circuit = tell(circuit, "FF", config=config, now=1_030).circuit
    assert circuit.state is State.CLOSED
    assert tell(circuit, "S", config=config, now=1_061).circuit.state is State.OPEN  # two of three


def test_an_open_circuit_tells_how_long_it_stays_so():
    step = ask(opened(now=100.0), 103.0)
    assert step.permit is None
    assert step.retry_after_s == 7.0


def test_the_first_call_after_the_interval_is_the_only_probe():
    circuit, permit = half_open()
    assert circuit.state is State.HALF_OPEN
    assert permit.token == "a"
    second = ask(circuit, 12.0, "b")
    assert second.permit is None
    assert second.retry_after_s == 3.0  # when the first probe's permit expires


def test_a_successful_probe_closes_the_circuit_with_an_empty_window():
    circuit, permit = half_open()
    step = end(circuit, permit, Outcome.SUCCESS, 11.0)
    assert step.circuit == Circuit(generation=3, openings=1, closed_at=11.0)
    assert step.transition is not None
    assert step.transition.reason == "1 of 1 probes succeeded"


@pytest.mark.parametrize(
    ("config", "outcome", "reason"),
    [
        (CONFIG, Outcome.FAILURE, "a probe failed"),
        (CONFIG, Outcome.SLOW_FAILURE, "a probe failed"),
        (SLOW, Outcome.SLOW_SUCCESS, "a probe was slow"),
    ],
)
def test_a_probe_that_fails_or_is_too_slow_opens_it_again(config: Config, outcome: Outcome, reason: str):
    circuit, permit = half_open(config)
    step = end(circuit, permit, outcome, 11.0, config=config)
    assert (step.circuit.state, step.circuit.open_until) == (State.OPEN, 21.0)
    assert step.transition is not None
    assert step.transition.reason == reason


def test_a_slow_probe_closes_a_circuit_that_has_no_limit_for_slow_calls():
    circuit, permit = half_open()
    assert end(circuit, permit, Outcome.SLOW_SUCCESS, 11.0).circuit.state is State.CLOSED


def test_an_ignored_error_gives_the_probes_permit_back():
    circuit, permit = half_open()
    step = end(circuit, permit, Outcome.IGNORED, 11.0)
    assert step.circuit.state is State.HALF_OPEN
    assert step.circuit.permits == ()
    assert ask(step.circuit, 11.0, "b").permit is not None


def test_an_ignored_error_leaves_a_closed_circuit_as_it_is():
    assert tell(Circuit(), "-").circuit == Circuit()


def test_a_probe_that_never_reports_loses_its_permit_and_its_late_result_is_refused():
    circuit, permit = half_open()
    step = ask(circuit, 15.0, "b")
    assert step.permit is not None
    late = end(step.circuit, permit, Outcome.FAILURE, 15.0)
    assert late.circuit == step.circuit
    assert late.transition is None


def test_a_result_of_an_earlier_generation_is_refused():
    reopened = machine.close(opened(), "by hand").circuit
    assert end(reopened, Permit(0), Outcome.FAILURE, 0).circuit == reopened
    assert machine.late(reopened, 0)


def test_a_result_from_before_the_state_was_lost_counts():
    anew = Circuit(generation=500, born=500)
    assert end(anew, Permit(7), Outcome.FAILURE, 0).circuit.letters == "F"
    assert end(anew, Permit(7, "a-probe"), Outcome.FAILURE, 0).circuit.letters == "F"
    moved = replace(anew, generation=502)
    assert end(moved, Permit(501), Outcome.FAILURE, 0).circuit.letters == ""


def test_a_result_from_after_a_state_that_was_restored_counts():
    restored = Circuit(generation=3)  # from a copy that is older than the call
    assert end(restored, Permit(5), Outcome.FAILURE, 0).circuit.letters == "F"


def test_a_result_of_a_call_that_passed_an_open_circuit_counts_for_nothing():
    circuit = opened()
    assert end(circuit, Permit(circuit.generation), Outcome.FAILURE, 1).circuit == circuit


def test_several_probes_may_be_under_way_and_all_must_succeed():
    config = replace(CONFIG, half_open_permits=2)
    circuit, first = half_open(config)
    step = ask(circuit, 10.0, "b", config=config)
    assert step.permit is not None
    assert ask(step.circuit, 10.0, "c", config=config).permit is None
    one = end(step.circuit, first, Outcome.SUCCESS, 10.0, config=config)
    assert one.circuit.state is State.HALF_OPEN
    assert ask(one.circuit, 10.0, "d", config=config).permit is None
    assert end(one.circuit, step.permit, Outcome.SUCCESS, 10.0, config=config).circuit.state is State.CLOSED


def test_lowering_the_number_of_probes_while_half_open_does_not_lock_the_circuit():
    circuit = replace(half_open()[0], passed=2, permits=())
    step = ask(circuit, 11.0, "z")
    assert step.permit is not None
    assert end(step.circuit, step.permit, Outcome.SUCCESS, 11.0).circuit.state is State.CLOSED


# --- intervals that grow ---


def reopen(circuit: Circuit, config: Config = GROWING) -> Circuit:
    """Through the end of the interval and a failing probe into the next opening."""
    step = ask(circuit, circuit.open_until, config=config)
    assert step.permit is not None
    return end(step.circuit, step.permit, Outcome.FAILURE, circuit.open_until, config=config).circuit


def closed_again(circuit: Circuit, config: Config = GROWING) -> Circuit:
    step = ask(circuit, circuit.open_until, config=config)
    assert step.permit is not None
    return end(step.circuit, step.permit, Outcome.SUCCESS, circuit.open_until, config=config).circuit


def test_each_opening_in_a_row_lasts_longer_up_to_the_maximum():
    circuit, lengths, began = opened(config=GROWING), [], 0.0
    for _ in range(4):
        lengths.append(circuit.open_until - began)
        began = circuit.open_until
        circuit = reopen(circuit)
    assert lengths == [10, 20, 35, 35]


def test_a_closing_that_did_not_last_does_not_begin_the_intervals_anew():
    circuit = closed_again(reopen(opened(config=GROWING)))  # open for 10, then 20; closed at 30
    soon = tell(circuit, "FFFF", config=GROWING, now=circuit.closed_at + 19.9).circuit
    assert (soon.openings, soon.open_until) == (3, pytest.approx(circuit.closed_at + 19.9 + 35))


def test_a_closing_that_lasted_as_long_as_the_opening_before_it_begins_them_anew():
    circuit = closed_again(reopen(opened(config=GROWING)))
    later = tell(circuit, "FFFF", config=GROWING, now=circuit.closed_at + 20).circuit
    assert (later.openings, later.open_until) == (1, circuit.closed_at + 30)


def test_closing_by_hand_begins_them_anew():
    circuit = machine.close(reopen(opened(config=GROWING)), "by hand").circuit
    assert tell(circuit, "FFFF", config=GROWING, now=31).circuit.openings == 1


@given(chance=st.floats(0, 1), openings=st.integers(1, 60), jitter=st.floats(0, 1), maximum=st.sampled_from([0, 500]))
def test_jitter_spreads_an_interval_to_both_sides_and_never_past_the_maximum(chance, openings, jitter, maximum):
    growth = {"open_multiplier": 1.5, "open_max_s": 500} if maximum else {}
    config = replace(CONFIG, open_jitter=jitter, **growth)
    bare = machine.interval(replace(config, open_jitter=0), openings, chance)
    length = machine.interval(config, openings, chance)
    assert bare * (1 - jitter) - 1e-9 <= length <= bare * (1 + jitter) + machine.SHORTEST_S
    assert machine.SHORTEST_S <= length <= (maximum or 20)


def test_an_opening_uses_the_chance_it_is_given():
    config = replace(CONFIG, open_jitter=0.5)
    assert tell(Circuit(), "FFFF", config=config, chance=0.0).circuit.open_until == 5.0
    assert tell(Circuit(), "FFFF", config=config, chance=1.0).circuit.open_until == 15.0


def test_chance_depends_on_the_token_alone_and_is_spread_evenly():
    assert machine.chance("a-token") == machine.chance("a-token")
    drawn = [machine.chance(f"7-abc-{number}") for number in range(4000)]
    assert all(0 < each < 1 for each in drawn)
    tenths = [sum(low / 10 <= each < (low + 1) / 10 for each in drawn) for low in range(10)]
    assert min(tenths) > 300


# --- measuring only ---


def test_a_circuit_that_only_measures_moves_but_refuses_nothing():
    step = tell(Circuit(), "FFFF", enforce=False)
    assert step.circuit.state is State.OPEN
    passing = ask(step.circuit, 1.0, enforce=False)
    assert passing.permit == Permit(step.circuit.generation)
    assert passing.retry_after_s == 0.0


def test_what_passes_an_open_circuit_that_only_measures_is_measured_and_decides_nothing():
    circuit = tell(Circuit(), "FFFF", enforce=False).circuit
    measured = tell(circuit, "FFFFFS", enforce=False)
    assert measured.transition is None
    assert (measured.circuit.state, measured.circuit.letters) == (State.OPEN, "FFFFFS")


def test_a_circuit_that_only_measures_tries_again_with_one_probe_beside_the_calls_that_pass():
    circuit = tell(Circuit(), "FFFF", enforce=False).circuit
    probe = ask(circuit, 10.0, "a", enforce=False)
    assert probe.permit is not None
    assert probe.permit.token == "a"
    beside = ask(probe.circuit, 10.0, "b", enforce=False)
    assert beside.permit is not None
    assert beside.permit.token == ""
    closed = machine.record(
        beside.circuit, CONFIG, At(now=11, enforce=False), permit=probe.permit, outcome=Outcome.SUCCESS
    )
    assert closed.circuit.state is State.CLOSED


def test_closing_by_hand_empties_the_window_and_starts_a_generation():
    step = machine.close(replace(Circuit(born=3), window="0F2"), "asked for")
    assert step.circuit == Circuit(generation=1, born=3)
    assert step.transition is not None
    assert step.transition.reason == "asked for"


# --- settings ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"failure_threshold": 0}, "failure_threshold or failure_rate must be set, both were 0"),
        ({"failure_threshold": -1}, "failure_threshold must be from 0 to 10000, was -1"),
        ({"failure_rate": 1.5}, "failure_rate must be from 0 to 1, was 1.5"),
        ({"slow_call_rate": 0.5}, "slow_call_s must tell what is slow where slow_call_rate is 0.5, was 0"),
        ({"half_open_permits": 0}, "half_open_permits must be from 1 to 10000, was 0"),
        ({"minimum_calls": 0}, "minimum_calls must be from 1 to 10000, was 0"),
        ({"open_s": 0.0}, "open_s must be above 0 and at most 604800 seconds, was 0"),
        ({"open_s": float("inf")}, "open_s must be above 0 and at most 604800 seconds, was inf"),
        ({"permit_s": float("nan")}, "permit_s must be above 0 and at most 604800 seconds, was nan"),
        ({"window_calls": 4}, "window_calls must hold failure_threshold = 5 and minimum_calls = 1, was 4"),
        ({"window_calls": 0}, "window_calls or window_s must be set, both were 0"),
        ({"open_multiplier": 2}, "open_max_s must end the growth by open_multiplier = 2, was 0"),
        ({"open_max_s": 30}, "open_max_s must be at least open_s = 60, was 30"),
        ({"open_multiplier": 0.5}, "open_multiplier must be from 1 to 10, was 0.5"),
        ({"open_jitter": 1.1}, "open_jitter must be from 0 to 1, was 1.1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        Config(**changes)


def test_a_window_by_time_alone_holds_any_threshold():
    assert Config(failure_threshold=500, window_calls=0, window_s=60).failure_threshold == 500
