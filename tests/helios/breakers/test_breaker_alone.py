"""A process while Redis is away, after it came back, and after it lost its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from helios.breakers.catalog import Settings
from helios.breakers.circuits import AWAY_S, OUTRUN_S, REFRESH_S
from helios.breakers.core import sliding_window
from helios.breakers.core.machine import At, Outcome, State
from helios.breakers.errors import SharedStateAway
from tests.support.breakers import CONFIG, Bench


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
    bench.call()
    bench.store.away = True
    bench.fail()
    bench.refused()
    asked = bench.store.asked
    bench.now += AWAY_S / 2
    bench.refused()
    assert bench.store.asked == asked
    bench.store.away = False
    bench.base.close("c", CONFIG, reason="by hand")
    bench.now += AWAY_S
    bench.call()  # what Redis says holds, whatever this process thought
    assert bench.circuit.view.state is State.CLOSED
    assert bench.circuit.view.generation > 0


def test_failures_counted_alone_are_told_when_redis_is_back(bench):
    bench.call()
    bench.store.away = True
    bench.fail(1)
    bench.call()
    bench.store.away = False
    bench.now += AWAY_S
    bench.call()
    assert bench.shared.letters == "SFS"
    bench.fail(1)  # together with the one from the time alone
    assert bench.shared.state is State.OPEN


def test_a_call_that_began_alone_counts_where_it_ends(bench):
    bench.call()
    bench.store.away = True
    bench.now += REFRESH_S
    failing, fine = bench.circuit.acquire(), bench.circuit.acquire()
    assert failing.generation < 0
    bench.store.away = False
    bench.now += AWAY_S
    bench.call()
    bench.circuit.record(failing, Outcome.FAILURE)
    bench.circuit.record(fine, Outcome.SUCCESS)
    bench.circuit.share()
    assert sorted(bench.shared.letters) == sorted("SSFS")


def test_what_was_measured_alone_is_late_where_the_circuit_has_moved_on(bench):
    bench.call()
    bench.store.away = True
    bench.fail(1)
    alone = bench.circuit.acquire()
    bench.base.close("c", CONFIG, reason="by hand")
    bench.store.away = False
    bench.now += AWAY_S
    bench.call()
    bench.circuit.record(alone, Outcome.FAILURE)
    bench.circuit.share()
    assert bench.shared.letters == "S"


def test_a_process_that_opened_alone_opens_the_circuit_for_all_when_redis_is_back(bench):
    bench.call()
    bench.store.away = True
    bench.fail(2)
    bench.refused()
    bench.store.away = False
    bench.now += AWAY_S
    bench.refused()
    assert bench.shared.state is State.OPEN
    assert bench.notes.moves == ["CLOSED>OPEN", "CLOSED>OPEN"]
    assert [entry.shared for entry in bench.notes.entries] == [False, True]


def test_what_was_measured_alone_grows_old_like_everything_else(store):
    bench = Bench(store)
    timed = replace(CONFIG, window_s=60.0, failure_threshold=4, minimum_calls=4)
    bench.circuit.configure(Settings(config=timed))
    bench.call()
    bench.store.away = True
    bench.call(Outcome.FAILURE)
    bench.now += 40
    bench.call(Outcome.FAILURE)
    assert bench.circuit.view.counts.failures == 2
    bench.now += 30
    bench.call(Outcome.FAILURE)
    assert bench.circuit.view.counts.failures == 2
    bench.store.away = False
    bench.now += AWAY_S
    bench.call()
    assert store.peek("c", timed).step.circuit.counts.failures == 2


def test_what_was_measured_alone_never_grows_beyond_its_window(store):
    """Where only time bounds it too: an hour without Redis is not told as an hour of failures."""
    bench = Bench(store)
    timed = replace(CONFIG, window_calls=0, window_s=60.0, failure_threshold=0, failure_rate=1.0)
    bench.circuit.configure(Settings(config=timed))
    bench.call()
    bench.store.away = True
    for number in range(400):
        bench.now += AWAY_S
        bench.call(Outcome.FAILURE if number % 2 else Outcome.SUCCESS)
    assert len(sliding_window.runs(bench.circuit._take().alone)) <= 61


def test_without_redis_a_process_goes_on_with_the_window_by_time_that_it_last_saw(store):
    bench = Bench(store)
    timed = replace(CONFIG, window_s=60.0)
    bench.circuit.configure(Settings(config=timed))
    bench.fail(1)
    bench.store.away = True
    bench.now += 50
    bench.fail(1)
    bench.refused()  # the shared one and this one are two within a minute


def test_a_window_that_only_redis_knew_is_not_older_alone_than_it_was(store):
    bench = Bench(store)
    bench.circuit.configure(Settings(config=replace(CONFIG, window_s=60.0)))
    bench.fail(1)
    bench.store.away = True
    bench.now += 61
    bench.fail(1)
    bench.call()  # the first is too old


@pytest.mark.parametrize("anew_by", ["the failure", "somebody else"])
def test_a_failure_under_way_while_redis_loses_its_state_is_counted(bench, client, prefix, anew_by):
    permit = bench.circuit.acquire()
    bench.call()
    client.delete(f"{prefix}:c")
    if anew_by == "somebody else":
        bench.base.acquire("c", CONFIG, At(now=0), 0, token="t", unshared="")
    bench.circuit.record(permit, Outcome.FAILURE)
    assert bench.shared.letters == "SF"


def test_an_open_circuit_that_redis_lost_begins_closed(bench, client, prefix):
    bench.fail()
    bench.refused()
    client.delete(f"{prefix}:c")
    bench.now += REFRESH_S
    bench.call()
    assert bench.circuit.view.state is State.CLOSED


def test_orders_in_flight_while_redis_is_away_are_told_when_it_is_back(orders):
    permits = [orders.circuit.acquire() for _ in range(2)]
    orders.store.away = True
    for permit in permits:
        orders.circuit.record(permit, Outcome.FAILURE)
    orders.store.away = False
    orders.now += AWAY_S
    orders.refused()
    assert orders.shared.state is State.OPEN


def test_what_cannot_be_told_now_waits(bench):
    bench.call()
    bench.store.away = True
    assert not bench.circuit.share()
    asked = bench.store.asked
    assert not bench.circuit.share()  # too soon to ask again
    assert bench.store.asked == asked
    bench.store.away = False
    bench.now += AWAY_S
    assert bench.circuit.share()
    assert bench.shared.letters == "S"


def test_openings_in_a_row_take_longer_alone_too(store):
    bench = Bench(store)
    bench.circuit.configure(Settings(config=replace(CONFIG, open_multiplier=2.0, open_max_s=100.0)))
    bench.call()
    bench.store.away = True
    bench.fail(2)
    lengths = []
    for _ in range(3):
        lengths.append(round(bench.refused().retry_after_s))
        bench.now += lengths[-1]
        bench.call(Outcome.FAILURE)
    assert lengths == [30, 60, 100]


def test_successes_counted_before_redis_went_still_count_alone(bench):
    for _ in range(4):
        bench.call()
    bench.store.away = True
    bench.call(Outcome.FAILURE)
    assert bench.circuit.view.letters == "SSSF"


def test_a_question_that_redis_did_not_answer_keeps_the_unshared_successes(bench):
    for _ in range(4):
        bench.call()
    bench.store.away = True
    bench.now += REFRESH_S
    bench.call(Outcome.FAILURE)
    assert bench.circuit.view.letters == "SSSF"


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


class Meanwhile:
    """A store whose next answer to one question is held up by what others do."""

    def __init__(self, bench: Bench, question: str, others: Callable[[], None], *, lost: bool = False) -> None:
        self.bench, self.question, self.others, self.lost = bench, question, others, lost
        bench.store.store = self

    def __getattr__(self, name: str):
        ask = getattr(self.bench.base, name)
        if name != self.question:
            return ask

        def late(*args, **kwargs):
            answer = None if self.lost else ask(*args, **kwargs)
            self.bench.store.store = self.bench.base
            self.others()
            if self.lost:
                raise SharedStateAway("gone")
            return answer

        return late


def test_successes_of_an_earlier_generation_that_could_not_be_told_do_not_count_in_the_next(bench):
    for _ in range(3):
        bench.call()
    failing = bench.circuit.acquire()

    def others() -> None:
        """A person closes the circuit, and another thread of this process hears of it."""
        bench.base.close("c", CONFIG, reason="by hand")
        bench.now += REFRESH_S
        bench.circuit.acquire()

    Meanwhile(bench, "record", others, lost=True)
    bench.circuit.record(failing, Outcome.FAILURE)
    bench.now += AWAY_S
    bench.circuit.acquire()
    assert bench.circuit.share()
    assert bench.shared.letters == ""


def test_an_answer_that_was_overtaken_does_not_bring_the_earlier_generation_back(bench):
    permits = [bench.circuit.acquire() for _ in range(2)]
    bench.now += REFRESH_S

    def others() -> None:
        for permit in permits:
            bench.circuit.record(permit, Outcome.FAILURE)

    Meanwhile(bench, "acquire", others)
    overtaken = bench.circuit.acquire()
    assert bench.circuit.view.state is State.OPEN
    bench.refused()
    bench.circuit.record(overtaken, Outcome.FAILURE)
    assert bench.shared.generation > overtaken.generation
    assert bench.shared.state is State.OPEN


def test_a_redis_whose_clock_and_state_went_back_is_believed(bench):
    bench.fail()
    bench.circuit._heard += 2 * OUTRUN_S
    bench.base.remove("c")
    bench.base.record("c", CONFIG, At(now=0), 0, token="", outcome=Outcome.SUCCESS, unshared="")
    bench.base._client.hset(f"{bench.base._prefix}:c", "generation", "1")
    bench.now += REFRESH_S
    bench.call()
    assert (bench.circuit.view.generation, bench.circuit.view.state) == (1, State.CLOSED)
