"""The Lua script against its pure twin, on a real Valkey."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helios.breakers.core import machine
from helios.breakers.core.config import Config
from helios.breakers.core.machine import At, Circuit, Outcome, Permit, State
from helios.breakers.errors import SharedStateAway
from helios.breakers.shared_state import Reply, SharedStore
from tests.support.breakers import configs

CONFIG = Config(failure_threshold=2, minimum_calls=2, window_calls=4, open_s=60, permit_s=30)
SET_CLOCK = "local function clock() return tonumber(redis.call('GET', '{prefix}:now')) end\n"
NOW = At(now=0.0)  # the store's time is that of Redis

ages = st.sampled_from([0, 0, 5, 900, 7_000, 40_000])
unshared = st.lists(st.tuples(ages, st.sampled_from("SSFsf"), st.integers(1, 6)), max_size=3)
calls = st.tuples(
    st.sampled_from(["acquire", "acquire", "record", "record", "record", "share", "close", "wait"]),
    st.sampled_from(list(Outcome)),
    unshared.map(lambda runs: ",".join(f"{age}{letter}{number}" for age, letter, number in runs)),
    st.integers(0, 5),  # which of the permits so far
    st.booleans(),  # enforce
    st.sampled_from([0.25, 1.0, 2.0, 4.0, 15.0, -40.0]),  # seconds that pass; a clock may be set back
    st.floats(0, 1),  # chance
)


class Pair:
    """One circuit twice: in Valkey, on a clock that the test sets, and as a value."""

    def __init__(self, client: redis.Redis, config: Config) -> None:
        self.prefix = f"test:{{{uuid.uuid4().hex}}}"
        self.client, self.config, self.now = client, config, 1_000.0
        self.store = SharedStore(client, prefix=self.prefix, clock=SET_CLOCK.replace("{prefix}", self.prefix))
        born = 1_000_000  # the time in milliseconds, as the script begins
        self.circuit = Circuit(generation=born, born=born)
        # One from before the state was lost, one from the circuit's life, one from a state that was rolled back.
        self.permits: list[Permit] = [Permit(7), Permit(born), Permit(born + 90)]
        self.set_clock()
        self.acquire("", At(now=self.now))  # Redis knows the circuit from here on

    def set_clock(self) -> None:
        self.client.set(f"{self.prefix}:now", str(self.now))

    def play(self, call: tuple) -> None:
        kind, outcome, news, index, enforce, seconds, chance = call
        at, permit = At(now=self.now, chance=chance, enforce=enforce), self.permits[index % len(self.permits)]
        if kind == "wait":
            self.now += seconds
            self.set_clock()
        elif kind == "acquire":
            self.acquire(news, at)
        elif kind == "record":
            self.record(permit, outcome, news, at)
        elif kind == "share":
            mine = machine.share(self.circuit, self.config, at, generation=permit.generation, unshared=news)
            self.compare(self.store.share("c", self.config, at, permit.generation, unshared=news), mine)
        else:
            mine = machine.close(self.circuit, "by hand")
            self.compare(self.store.close("c", self.config, reason="by hand"), mine)

    def acquire(self, news: str, at: At) -> None:
        token, generation = uuid.uuid4().hex, self.permits[-1].generation
        shared = {"token": token, "unshared": news}
        mine = machine.acquire(self.circuit, self.config, at, generation=generation, **shared)
        theirs = self.store.acquire("c", self.config, at, generation, **shared)
        self.compare(theirs, mine)
        assert theirs.step.permit == mine.permit
        assert theirs.step.retry_after_s == pytest.approx(mine.retry_after_s, abs=1e-5)
        if mine.permit is not None:
            self.permits.append(mine.permit)

    def record(self, permit: Permit, outcome: Outcome, news: str, at: At) -> None:
        mine = machine.record(self.circuit, self.config, at, permit=permit, outcome=outcome, unshared=news)
        theirs = self.store.record(
            "c", self.config, at, permit.generation, token=permit.token, outcome=outcome, unshared=news
        )
        self.compare(theirs, mine)

    def compare(self, theirs: Reply, mine: machine.Step) -> None:
        self.circuit = mine.circuit
        seen, expected = theirs.step.circuit, mine.circuit
        at = At(now=self.now)
        fresh = machine.share(expected, self.config, at, generation=0, unshared="").circuit.window
        assert (seen.state, seen.generation, seen.born, seen.window, seen.openings) == (
            expected.state, expected.generation, expected.born, fresh, expected.openings,
        )  # fmt: skip
        assert theirs.step.transition == mine.transition
        assert theirs.probes == len([1 for _, expiry in expected.permits if expiry > self.now])
        assert seen.closed_at == pytest.approx(expected.closed_at)
        if expected.state is State.OPEN:
            assert seen.open_until == pytest.approx(expected.open_until)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(calls, max_size=40), config=configs())
def test_the_script_decides_as_the_pure_machine_does(client, story, config):
    pair = Pair(client, config)
    for call in story:
        pair.play(call)


def acquire(store: SharedStore, by: str = "a", *, unshared: str = "", generation: int = 0) -> Reply:
    return store.acquire("c", CONFIG, NOW, generation, token=by, unshared=unshared)


def record(store: SharedStore, permit: Permit, outcome: Outcome = Outcome.FAILURE) -> Reply:
    return store.record("c", CONFIG, NOW, permit.generation, token=permit.token, outcome=outcome, unshared="")


def test_a_clock_that_is_set_back_keeps_nothing_up_for_longer_than_it_takes(client):
    pair = Pair(client, CONFIG)
    for outcome in (Outcome.FAILURE, Outcome.FAILURE):
        pair.play(("record", outcome, "", -1, True, 0.0, 0.5))
    assert pair.circuit.state is State.OPEN
    pair.play(("wait", Outcome.SUCCESS, "", 0, True, -10_800.0, 0.5))
    longest = machine.interval(CONFIG, 1, 1.0)
    assert pair.store.peek("c", CONFIG).open_for_s == pytest.approx(longest, abs=1e-3)
    pair.play(("acquire", Outcome.SUCCESS, "", 0, True, 0.0, 0.5))
    pair.play(("wait", Outcome.SUCCESS, "", 0, True, longest, 0.5))
    for _ in range(2):  # the first is the probe, which the clock then leaves behind
        pair.play(("acquire", Outcome.SUCCESS, "", 0, True, 0.0, 0.5))
        assert pair.circuit.state is State.HALF_OPEN
        pair.play(("wait", Outcome.SUCCESS, "", 0, True, -10_800.0, 0.5))
        pair.play(("acquire", Outcome.SUCCESS, "", 0, True, 0.0, 0.5))
        pair.play(("wait", Outcome.SUCCESS, "", 0, True, CONFIG.permit_s, 0.5))


def test_a_circuit_that_redis_forgot_starts_above_every_number_it_had(store, client, prefix):
    first = acquire(store)
    store.close("c", CONFIG, reason="by hand")
    client.delete(f"{prefix}:c")
    while store.peek("c", CONFIG).now * 1000 < first.step.circuit.generation + 2:
        pass
    again = acquire(store, "b")
    assert again.step.circuit.generation > first.step.circuit.generation + 1


def test_a_failure_that_ends_after_the_state_was_lost_still_counts(store, client, prefix):
    permit = acquire(store).step.permit
    client.delete(f"{prefix}:c")
    assert record(store, permit).step.circuit.letters == "F"  # it finds nothing, and begins the circuit anew
    client.delete(f"{prefix}:c")
    acquire(store, "b")  # somebody else began it anew
    assert record(store, permit).step.circuit.letters == "F"


def test_looking_and_removing(store, client, prefix):
    reply = store.peek("c", CONFIG)
    assert reply.step.circuit.state is State.CLOSED
    assert not client.exists(f"{prefix}:c")
    acquire(store)
    assert client.exists(f"{prefix}:c")
    store.remove("c")
    assert not client.exists(f"{prefix}:c")


def test_announcements_are_counted_and_told_with_every_decision(store):
    assert store.changes() == 0
    store.announce()
    assert store.changes() == 1
    assert store.peek("c", CONFIG).changes == 1


def test_an_unreachable_redis_is_named_in_every_answer(tmp_path):
    store = SharedStore.from_url(f"unix://{tmp_path}/nobody.sock?db=0")
    for ask in (
        lambda: store.peek("c", CONFIG),
        lambda: store.close("c", CONFIG, reason=""),
        lambda: store.remove("c"),
        lambda: acquire(store),
        lambda: record(store, Permit(0)),
        lambda: store.share("c", CONFIG, NOW, 0, unshared="0S1"),
        store.changes,
        store.announce,
    ):
        with pytest.raises(SharedStateAway, match="the shared state of the breakers cannot be reached"):
            ask()


def test_the_time_is_that_of_redis(store, client):
    seconds, microseconds = client.time()
    before = seconds + microseconds / 1e6
    permit = acquire(store).step.permit
    for _ in range(2):
        reply = record(store, permit)
    assert reply.step.circuit.state is State.OPEN
    assert reply.now >= before
    assert reply.open_for_s == pytest.approx(60)
    assert replace(reply.step.circuit, open_until=0).window == ""


def test_the_text_of_a_window_by_time_stays_small_in_redis(client):
    pair = Pair(client, Config(failure_threshold=0, failure_rate=1.0, window_calls=0, window_s=60))
    for _ in range(200):
        pair.now += 0.5
        pair.set_clock()
        pair.record(Permit(pair.circuit.generation), Outcome.SLOW_SUCCESS, "0S100000", At(now=pair.now))
    assert client.hstrlen(f"{pair.prefix}:c", "runs") < 3_000
    assert pair.circuit.counts.calls > 10_000_000
