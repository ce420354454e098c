"""The Lua script against its pure twin, on a real Valkey."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helios.breakers import core
from helios.breakers.core import Circuit, Config, Outcome, Permit, State
from helios.breakers.errors import SharedStateAway
from helios.breakers.store import Reply, SharedStore

CONFIG = Config(failure_threshold=2, minimum_calls=2, window_calls=4, open_s=60, permit_s=30)
SET_CLOCK = "local function clock() return tonumber(redis.call('GET', '{prefix}:now')) end\n"

calls = st.tuples(
    st.sampled_from(["acquire", "acquire", "record", "record", "record", "close", "wait"]),
    st.sampled_from(list(Outcome)),
    st.integers(0, 6),  # successes shared with the call
    st.integers(0, 5),  # which of the permits so far
    st.booleans(),  # enforce
    st.sampled_from([0.25, 1.0, 2.0, 4.0]),  # seconds that pass
)


class Pair:
    """One circuit twice: in Valkey, on a clock that the test sets, and as a value."""

    def __init__(self, client: redis.Redis, config: Config) -> None:
        self.prefix = f"test:{{{uuid.uuid4().hex}}}"
        self.client, self.config, self.now = client, config, 1_000.0
        self.store = SharedStore(client, prefix=self.prefix, clock=SET_CLOCK.replace("{prefix}", self.prefix))
        self.circuit = Circuit(generation=1_000_000)  # the time in milliseconds, as the script begins
        self.permits: list[Permit] = [Permit(self.circuit.generation)]
        self.set_clock()
        self.acquire(0, enforce=True)  # Redis knows the circuit from here on

    def set_clock(self) -> None:
        self.client.set(f"{self.prefix}:now", str(self.now))

    def play(self, call: tuple) -> None:
        kind, outcome, successes, index, enforce, seconds = call
        if kind == "wait":
            self.now += seconds
            self.set_clock()
        elif kind == "acquire":
            self.acquire(successes, enforce=enforce)
        elif kind == "record":
            self.record(self.permits[index % len(self.permits)], outcome, successes, enforce=enforce)
        else:
            mine = core.close(self.circuit, "by hand")
            self.compare(self.store.close("c", self.config, reason="by hand"), mine)

    def acquire(self, successes: int, *, enforce: bool) -> None:
        token, generation = uuid.uuid4().hex, self.permits[-1].generation
        shared = {"token": token, "generation": generation, "successes": successes, "enforce": enforce}
        mine = core.acquire(self.circuit, self.config, now=self.now, **shared)
        theirs = self.store.acquire("c", self.config, **shared)
        self.compare(theirs, mine)
        assert theirs.step.permit == mine.permit
        assert theirs.step.retry_after_s == pytest.approx(mine.retry_after_s)
        if mine.permit is not None:
            self.permits.append(mine.permit)

    def record(self, permit: Permit, outcome: Outcome, successes: int, *, enforce: bool) -> None:
        shared = {"successes": successes, "enforce": enforce}
        mine = core.record(self.circuit, self.config, permit, outcome, now=self.now, **shared)
        self.compare(self.store.record("c", self.config, permit, outcome, **shared), mine)

    def compare(self, theirs: Reply, mine: core.Step) -> None:
        self.circuit = mine.circuit
        seen = theirs.step.circuit
        assert (seen.state, seen.generation, seen.window) == (
            mine.circuit.state,
            mine.circuit.generation,
            mine.circuit.window,
        )
        assert theirs.step.transition == mine.transition
        assert theirs.probes == len([1 for _, expiry in mine.circuit.permits if expiry > self.now])
        if mine.circuit.state is State.OPEN:
            assert seen.open_until == pytest.approx(mine.circuit.open_until)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    story=st.lists(calls, max_size=40),
    threshold=st.integers(1, 3),
    permits=st.integers(1, 3),
)
def test_the_script_decides_as_the_pure_machine_does(client, story, threshold, permits):
    config = Config(
        failure_threshold=threshold,
        minimum_calls=2,
        window_calls=4,
        open_s=3,
        half_open_permits=permits,
        permit_s=2,
    )
    pair = Pair(client, config)
    for call in story:
        pair.play(call)


def test_a_circuit_that_redis_forgot_starts_above_every_number_it_had(store, client, prefix):
    first = store.acquire("c", CONFIG, token="a", generation=0, successes=0, enforce=True)
    store.close("c", CONFIG, reason="by hand")
    client.delete(f"{prefix}:c")
    while store.peek("c", CONFIG).now * 1000 < first.step.circuit.generation + 2:
        pass
    again = store.acquire("c", CONFIG, token="b", generation=0, successes=0, enforce=True)
    assert again.step.circuit.generation > first.step.circuit.generation + 1


def test_looking_changes_nothing(store, client, prefix):
    reply = store.peek("c", CONFIG)
    assert reply.step.circuit.state is State.CLOSED
    assert not client.exists(f"{prefix}:c")


def test_announcements_are_counted_and_told_with_every_decision(store):
    assert store.changes() == 0
    store.announce()
    assert store.changes() == 1
    assert store.peek("c", CONFIG).changes == 1


def test_an_unreachable_redis_is_named_in_every_answer(tmp_path):
    store = SharedStore.from_url(f"unix://{tmp_path}/nobody.sock?db=0")
    permit = Permit(0)
    for ask in (
        lambda: store.peek("c", CONFIG),
        lambda: store.close("c", CONFIG, reason=""),
        lambda: store.acquire("c", CONFIG, token="", generation=0, successes=0, enforce=True),
        lambda: store.record("c", CONFIG, permit, Outcome.FAILURE, successes=0, enforce=True),
        store.changes,
        store.announce,
    ):
        with pytest.raises(SharedStateAway, match="the shared state of the breakers cannot be reached"):
            ask()


def test_the_time_is_that_of_redis(store, client):
    seconds, microseconds = client.time()
    before = seconds + microseconds / 1e6
    permit = store.acquire("c", CONFIG, token="a", generation=0, successes=0, enforce=True).step.permit
    for _ in range(2):
        reply = store.record("c", CONFIG, permit, Outcome.FAILURE, successes=0, enforce=True)
    assert reply.step.circuit.state is State.OPEN
    assert reply.now >= before
    assert reply.open_for_s == pytest.approx(60)
    assert replace(reply.step.circuit, open_until=0).window == ""
