"""One process's view of a circuit: what it asks Redis, what it keeps to itself, what it never lets pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helios.breakers.catalog import Settings
from helios.breakers.circuits import REFRESH_S
from helios.breakers.core.config import Config, Mode
from helios.breakers.core.machine import Outcome, State
from helios.breakers.errors import CircuitOpen
from tests.support.breakers import CONFIG, Bench
from tests.support.together import at_once


def test_successes_of_a_closed_circuit_ask_redis_once_per_refresh(bench):
    for _ in range(1000):
        bench.call()
    assert bench.store.asked == 1
    bench.now += REFRESH_S
    bench.call()
    assert bench.store.asked == 2
    assert bench.circuit.view.letters == "SSSS"  # shared with the second question


def test_every_failure_is_shared_at_once_together_with_the_successes_before_it(bench):
    for _ in range(3):
        bench.call()
    bench.fail(1)
    assert bench.base.peek("c", CONFIG).step.circuit.letters == "SSSF"


def test_ignored_errors_of_a_closed_circuit_cost_nothing(bench):
    bench.call()
    bench.call(Outcome.IGNORED)
    assert bench.store.asked == 1


def test_failures_of_several_workers_add_up_and_all_of_them_stop(bench):
    other = bench.worker(Settings(config=CONFIG))
    permit = other.acquire()
    bench.fail(1)
    other.record(permit, Outcome.FAILURE)
    with pytest.raises(CircuitOpen):
        other.acquire()
    bench.now += REFRESH_S
    assert bench.refused().retry_after_s == pytest.approx(30, abs=1)


def test_an_open_circuit_refuses_without_asking_until_the_next_refresh(bench):
    bench.fail()
    asked = bench.store.asked
    for _ in range(50):
        bench.refused()
    assert bench.store.asked == asked
    bench.now += REFRESH_S
    bench.refused()
    assert bench.store.asked == asked + 1
    assert bench.notes.moves == ["CLOSED>OPEN"]


def test_a_refusal_says_which_circuit_why_and_when(bench):
    bench.fail()
    error = bench.refused()
    assert error.name == "c"
    assert str(error) == "circuit c refused the call: it is open after failures; it may be tried again in 30.0 s"


def test_one_probe_goes_and_its_success_closes_the_circuit_for_all(store, client, prefix):
    bench = Bench(store)
    bench.fail()
    client.hset(f"{prefix}:c", "open_until", "1")  # the interval is over
    bench.now += 30
    permit = bench.circuit.acquire()
    assert permit.token
    other = bench.worker(Settings(config=CONFIG))
    with pytest.raises(CircuitOpen, match="half-open and its probes are under way"):
        other.acquire()
    bench.circuit.record(permit, Outcome.SUCCESS)
    assert other.acquire().token == ""
    assert bench.notes.moves == ["CLOSED>OPEN", "OPEN>HALF_OPEN", "HALF_OPEN>CLOSED"]


def test_an_ignored_probe_gives_its_permit_back(store, client, prefix):
    bench = Bench(store)
    bench.fail()
    client.hset(f"{prefix}:c", "open_until", "1")
    bench.now += 30
    bench.circuit.record(bench.circuit.acquire(), Outcome.IGNORED)
    assert bench.circuit.acquire().token


def test_a_late_result_of_an_earlier_generation_changes_nothing(bench):
    late = bench.circuit.acquire()
    bench.fail()
    bench.base.close("c", CONFIG, reason="by hand")
    bench.circuit.record(late, Outcome.FAILURE)
    assert bench.base.peek("c", CONFIG).step.circuit.letters == ""


def test_with_the_flag_off_a_circuit_only_measures_and_notes_what_it_would_have_done(bench):
    bench.flag = False
    bench.fail(5)
    bench.call()
    assert bench.circuit.view.state is State.OPEN
    assert bench.shared.letters == "FFF"  # what passed it is measured too
    assert [(entry.after, entry.enforced) for entry in bench.notes.entries] == [("OPEN", False)]
    bench.flag = True
    bench.now += REFRESH_S
    bench.refused()
    bench.flag = False
    bench.now += REFRESH_S
    bench.call()  # open, and passing all the same


def test_a_circuit_set_to_measure_only_refuses_nothing_whatever_the_flag_says(store, client, prefix):
    bench = Bench(store, mode=Mode.METRICS_ONLY)
    bench.fail(20)
    client.hset(f"{prefix}:c", "open_until", "1")
    bench.now += 30
    probe, beside = bench.circuit.acquire(), bench.circuit.acquire()
    assert probe.token
    assert not beside.token
    bench.circuit.record(probe, Outcome.SUCCESS)
    assert bench.notes.moves == ["CLOSED>OPEN", "OPEN>HALF_OPEN", "HALF_OPEN>CLOSED"]
    assert not any(entry.enforced for entry in bench.notes.entries)
    bench.store.away = True
    bench.now += REFRESH_S
    bench.fail(20)
    bench.call()


def test_a_circuit_that_only_measured_acts_from_the_state_it_measured(bench):
    bench.circuit.configure(Settings(config=CONFIG, mode=Mode.METRICS_ONLY))
    bench.fail(2)
    bench.call()
    bench.circuit.configure(Settings(config=CONFIG))
    bench.refused()


def test_with_the_flag_off_a_circuit_on_the_order_path_still_acts(orders):
    orders.flag = False
    orders.fail()
    orders.refused()


def test_the_order_path_asks_before_every_call(orders):
    for _ in range(5):
        orders.call()
    assert orders.store.asked == 5


def test_calls_that_only_reduce_pass_the_order_path_whatever_its_state(orders):
    orders.fail()
    orders.refused()
    orders.call(reducing=True)
    orders.call(Outcome.FAILURE, reducing=True)
    assert orders.base.peek("c", CONFIG).step.circuit.state is State.OPEN


def test_calls_that_only_reduce_have_no_privilege_elsewhere(bench):
    bench.fail()
    bench.refused(reducing=True)


def test_an_idle_process_tells_what_it_kept_when_it_is_asked_to(bench):
    for _ in range(3):
        bench.call()
    assert bench.circuit.unshared
    assert bench.circuit.share()
    assert bench.shared.letters == "SSS"
    asked = bench.store.asked
    assert bench.circuit.share()  # nothing left
    assert bench.store.asked == asked


def test_the_first_success_of_a_batch_wakes_whoever_shares_it(store):
    bench = Bench(store)
    for _ in range(3):
        bench.call()
    assert bench.woken == 1
    bench.circuit.share()
    bench.call()
    assert bench.woken == 2


def test_a_success_that_completes_the_minimum_opens_the_circuit_when_it_is_shared(bench):
    half = replace(CONFIG, failure_threshold=0, failure_rate=0.5, minimum_calls=4)
    bench.circuit.configure(Settings(config=half))
    bench.fail(2)
    bench.call()
    bench.call()
    assert bench.shared.state is State.CLOSED
    bench.circuit.share()
    assert bench.shared.state is State.OPEN
    assert bench.notes.moves == ["CLOSED>OPEN"]


def test_slow_calls_are_shared_at_once_and_open_the_circuit(bench):
    slow = replace(CONFIG, slow_call_s=1.0, slow_call_rate=0.5, minimum_calls=4)
    bench.circuit.configure(Settings(config=slow))
    for outcome in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.SLOW_SUCCESS):
        bench.call(outcome)
    assert bench.shared.letters == "SSs"
    bench.call(Outcome.SLOW_SUCCESS)
    bench.refused()


def test_a_circuit_forced_open_refuses_until_a_person_closes_it(bench):
    bench.call()
    bench.circuit.configure(Settings(config=CONFIG, mode=Mode.FORCED_OPEN))
    error = bench.refused()
    assert error.retry_after_s is None
    assert str(error).endswith("a person opened it; it may be tried again when a person closes it")
    bench.circuit.configure(Settings(config=CONFIG))
    bench.call()


def test_a_circuit_forced_open_keeps_listening_for_changes(bench):
    bench.circuit.configure(Settings(config=CONFIG, mode=Mode.FORCED_OPEN))
    bench.base.announce()
    bench.refused()
    assert bench.heard == [1]
    bench.refused()
    assert bench.store.asked == 1
    bench.store.away = True
    bench.now += REFRESH_S
    bench.refused()


def test_a_change_heard_while_forced_open_lets_the_same_call_pass(bench):
    bench.circuit.configure(Settings(config=CONFIG, mode=Mode.FORCED_OPEN))
    bench.circuit._on_changes = lambda _: bench.circuit.configure(Settings(config=CONFIG))
    bench.call()


def test_a_forced_circuit_that_only_measures_lets_pass(bench):
    bench.flag = False
    bench.circuit.configure(Settings(config=CONFIG, mode=Mode.FORCED_OPEN))
    bench.call()


def test_other_settings_hold_from_the_next_call(bench):
    bench.call()
    bench.circuit.configure(Settings(config=replace(CONFIG, failure_threshold=1, minimum_calls=1)))
    bench.fail(1)
    bench.refused()


def test_threads_lose_no_success_and_no_failure(store):
    bench = Bench(store)
    wide = Config(failure_threshold=900, minimum_calls=1, window_calls=1000)
    circuit = bench.worker(Settings(config=wide))

    def work(_: int) -> None:
        for number in range(100):
            circuit.record(circuit.acquire(), Outcome.FAILURE if number % 4 == 0 else Outcome.SUCCESS)

    at_once(work, range(8))
    bench.now += REFRESH_S
    circuit.acquire()
    window = store.peek("c", wide).step.circuit.letters
    assert (len(window), window.count("F")) == (800, 200)
