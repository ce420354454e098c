"""One process's view of a circuit: what it asks Redis, what it decides alone, what it never lets pass."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from helios.breakers.catalog import Settings
from helios.breakers.circuits import AWAY_S, REFRESH_S, ProcessCircuit
from helios.breakers.core import Config, Outcome, State
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
        self.now, self.flag, self.heard = 1000.0, True, []
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
            clock=lambda: self.now,
        )

    def call(self, outcome: Outcome = Outcome.SUCCESS, *, reducing: bool = False) -> None:
        self.circuit.record(self.circuit.acquire(reducing=reducing), outcome)

    def fail(self, times: int = 2) -> None:
        for _ in range(times):
            self.call(Outcome.FAILURE)

    def refused(self, **options) -> CircuitOpen:
        with pytest.raises(CircuitOpen) as caught:
            self.circuit.acquire(**options)
        return caught.value


@pytest.fixture
def bench(store) -> Bench:
    return Bench(store)


@pytest.fixture
def orders(store) -> Bench:
    return Bench(store, order_path=True)


def test_successes_of_a_closed_circuit_ask_redis_once_per_refresh(bench):
    for _ in range(1000):
        bench.call()
    assert bench.store.asked == 1
    bench.now += REFRESH_S
    bench.call()
    assert bench.store.asked == 2
    assert bench.circuit.view.window == "SSSS"  # shared with the second question


def test_every_failure_is_shared_at_once_together_with_the_successes_before_it(bench):
    for _ in range(3):
        bench.call()
    bench.fail(1)
    assert bench.base.peek("c", CONFIG).step.circuit.window == "SSSF"


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
    assert bench.base.peek("c", CONFIG).step.circuit.window == ""


def test_with_the_flag_off_a_circuit_only_measures(bench):
    bench.flag = False
    bench.fail(5)
    assert bench.circuit.view.state is State.CLOSED
    assert bench.circuit.view.window == "FFFF"
    bench.flag = True
    bench.now += REFRESH_S
    bench.fail(1)
    bench.refused()
    bench.flag = False
    bench.now += REFRESH_S
    bench.call()  # open, and passing all the same


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


def test_without_redis_a_process_decides_alone_on_what_it_last_saw(bench):
    bench.fail(1)
    bench.store.away = True
    bench.call(Outcome.FAILURE)  # the shared failure and this one make two
    assert bench.circuit.view.state is State.OPEN
    assert [entry.shared for entry in bench.notes.entries] == [False]
    assert bench.refused().retry_after_s == 30
    bench.now += 30
    probe = bench.circuit.acquire()
    bench.refused()
    bench.circuit.record(probe, Outcome.SUCCESS)
    bench.call()
    assert bench.notes.moves == ["CLOSED>OPEN", "OPEN>HALF_OPEN", "HALF_OPEN>CLOSED"]


def test_without_redis_it_is_asked_again_once_in_a_while_and_believed_when_it_is_back(bench):
    bench.store.away = True
    bench.fail()
    bench.refused()
    asked = bench.store.asked
    bench.now += AWAY_S / 2
    bench.refused()
    assert bench.store.asked == asked
    bench.store.away = False
    bench.now += AWAY_S
    bench.call()
    assert bench.circuit.view.state is State.CLOSED
    assert bench.circuit.view.generation > 0


def test_a_result_from_the_time_alone_is_not_taken_for_a_shared_one(bench):
    bench.store.away = True
    alone = bench.circuit.acquire()
    assert alone.generation < 0
    bench.store.away = False
    bench.now += AWAY_S
    bench.call()
    bench.circuit.record(alone, Outcome.FAILURE)
    assert bench.base.peek("c", CONFIG).step.circuit.failures == 0


def test_successes_counted_before_redis_went_still_count_alone(bench):
    for _ in range(4):
        bench.call()
    bench.store.away = True
    bench.call(Outcome.FAILURE)
    assert bench.circuit.view.window == "SSSF"


def test_a_question_that_redis_did_not_answer_keeps_the_unshared_successes(bench):
    for _ in range(4):
        bench.call()
    bench.store.away = True
    bench.now += REFRESH_S
    bench.call(Outcome.FAILURE)
    assert bench.circuit.view.window == "SSSF"


def test_without_redis_a_circuit_that_measures_lets_pass(bench):
    bench.store.away, bench.flag = True, False
    bench.fail(5)
    bench.call()


def test_without_redis_the_order_path_refuses_everything_but_reductions(orders):
    orders.call()
    orders.store.away = True
    error = orders.refused()
    assert "orders are not sent without it" in str(error)
    assert error.retry_after_s is not None
    assert error.retry_after_s <= AWAY_S
    orders.refused()
    orders.call(reducing=True)
    orders.store.away = False
    orders.now += AWAY_S
    orders.call()


def test_an_order_that_fails_as_redis_goes_leaves_the_path_closed_to_all(orders):
    permit = orders.circuit.acquire()
    orders.store.away = True
    orders.circuit.record(permit, Outcome.FAILURE)
    orders.refused()


def test_a_circuit_forced_open_refuses_until_a_person_closes_it(bench):
    bench.call()
    bench.circuit.configure(Settings(config=CONFIG, forced_open=True))
    error = bench.refused()
    assert error.retry_after_s is None
    assert str(error).endswith("a person opened it; it may be tried again when a person closes it")
    bench.circuit.configure(Settings(config=CONFIG))
    bench.call()


def test_a_circuit_forced_open_keeps_listening_for_changes(bench):
    bench.circuit.configure(Settings(config=CONFIG, forced_open=True))
    bench.base.announce()
    bench.refused()
    assert bench.heard == [1]
    bench.refused()
    assert bench.store.asked == 1
    bench.store.away = True
    bench.now += REFRESH_S
    bench.refused()


def test_a_change_heard_while_forced_open_lets_the_same_call_pass(bench):
    bench.circuit.configure(Settings(config=CONFIG, forced_open=True))
    bench.circuit._on_changes = lambda _: bench.circuit.configure(Settings(config=CONFIG))
    bench.call()


def test_a_forced_circuit_that_only_measures_lets_pass(bench):
    bench.flag = False
    bench.circuit.configure(Settings(config=CONFIG, forced_open=True))
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

    def work() -> None:
        for number in range(100):
            circuit.record(circuit.acquire(), Outcome.FAILURE if number % 4 == 0 else Outcome.SUCCESS)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.now += REFRESH_S
    circuit.acquire()
    window = store.peek("c", wide).step.circuit.window
    assert (len(window), window.count("F")) == (800, 200)
