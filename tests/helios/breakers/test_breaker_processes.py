"""Eight processes, one Valkey: no outcome is lost, and one probe at a time goes through half-open."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from helios.breakers.core.config import Config
from helios.breakers.core.machine import At, State
from helios.breakers.shared_state import SharedStore
from tests.support import warm
from tests.support.warm import Running

N_PROCESSES = 8
N_CALLS = 100
LIMIT_S = 60.0

WORKER = """
import json, random, sys, time
import redis
from helios.breakers.catalog import Settings
from helios.breakers.circuits import ProcessCircuit
from helios.breakers.core.config import Config
from helios.breakers.core.machine import Outcome
from helios.breakers.errors import CircuitOpen
from helios.breakers.shared_state import SharedStore

url, prefix, story, config, seed = sys.argv[1], sys.argv[2], sys.argv[3], Config(**json.loads(sys.argv[4])), sys.argv[5]

class Notes:
    def __init__(self): self.moves = []
    def add(self, entry): self.moves.append(f"{entry.before}>{entry.after}")

client, notes = redis.Redis.from_url(url), Notes()
store = SharedStore(client, prefix=prefix)
circuit = ProcessCircuit("c", Settings(config=config), store=store, journal=notes, acting=lambda: True)
client.incr(prefix + ":ready")
while client.get(prefix + ":go") is None:
    time.sleep(0.001)

def count():
    for number in range(int(client.get(prefix + ":failures"))):
        circuit.record(circuit.acquire(), Outcome.SUCCESS)
        circuit.record(circuit.acquire(), Outcome.FAILURE)
    return {}

def mixed():
    chance, made = random.Random(seed), []
    for number in range(int(client.get(prefix + ":failures"))):
        outcome = chance.choice([Outcome.SUCCESS] * 4 + [Outcome.FAILURE, Outcome.SLOW_SUCCESS, Outcome.SLOW_FAILURE])
        circuit.record(circuit.acquire(), outcome)
        made.append(outcome.value)
        if chance.random() < 0.05:
            circuit.share()  # as the thread of a process does now and then
    circuit.share()
    return {"made": "".join(made)}

def probe():
    probes = together = 0
    while client.get(prefix + ":stop") is None:
        try:
            permit = circuit.acquire()
        except CircuitOpen:
            continue
        if permit.token:
            probes += 1
            together = max(together, client.incr(prefix + ":inside"))
            client.incr(prefix + ":probes")
            client.decr(prefix + ":inside")
        circuit.record(permit, Outcome.FAILURE)
    return {"probes": probes, "together": together}

def hold():
    while True:
        try:
            permit = circuit.acquire()
        except CircuitOpen:
            time.sleep(0.001)
            continue
        if permit.token:
            client.set(prefix + ":held", permit.token)
            time.sleep(60)
        circuit.record(permit, Outcome.FAILURE)

print(json.dumps({"moves": notes.moves, **{"count": count, "mixed": mixed, "probe": probe, "hold": hold}[story]()}))
"""


def start(prefix: str, story: str, config: dict[str, float], number: int = 0) -> Running:
    url = os.environ["HELIOS_REDIS_URL"]
    return warm.begin(["-c", WORKER, url, prefix, story, json.dumps(config), str(number)])


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def run(
    client: Any, prefix: str, story: str, config: dict[str, float], during: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    workers = [start(prefix, story, config, number) for number in range(N_PROCESSES)]
    try:
        while int(client.get(f"{prefix}:ready") or 0) < N_PROCESSES:
            assert all(each.process.poll() is None for each in workers), [each.end().stderr for each in workers]
            time.sleep(0.01)
        client.set(f"{prefix}:go", 1)
        during()
        answers = [each.end(LIMIT_S) for each in workers]
    finally:
        for each in workers:
            each.process.send_signal(signal.SIGKILL)
    assert [each.returncode for each in answers] == [0] * N_PROCESSES, answers
    return [json.loads(each.stdout) for each in answers]


def circuit_of(client: Any, prefix: str, config: dict[str, float]) -> Any:
    return SharedStore(client, prefix=prefix).peek("c", Config(**config)).step.circuit


def test_no_failure_of_eight_processes_is_lost_and_exactly_one_opens_the_circuit(client, prefix):
    total = N_PROCESSES * N_CALLS
    config = {"failure_threshold": total, "minimum_calls": 1, "window_calls": 4 * total, "open_s": 60}
    client.set(f"{prefix}:failures", N_CALLS)
    answers = run(client, prefix, "count", config)
    assert sorted(move for answer in answers for move in answer["moves"]) == ["CLOSED>OPEN"]
    assert circuit_of(client, prefix, config).state is State.OPEN


@pytest.mark.parametrize(
    "window", [{"window_calls": 10_000}, {"window_calls": 0, "window_s": 3600}], ids=["by count", "by time"]
)
def test_no_outcome_of_eight_processes_is_lost(client, prefix, window):
    config = {"failure_threshold": 10_000, "open_s": 60, "slow_call_s": 1, **window}
    client.set(f"{prefix}:failures", 2 * N_CALLS)
    answers = run(client, prefix, "mixed", config)
    made = Counter("".join(answer["made"] for answer in answers))
    assert sum(made.values()) == N_PROCESSES * 2 * N_CALLS
    circuit = circuit_of(client, prefix, config)
    assert circuit.state is State.CLOSED
    assert Counter(circuit.letters) == made


def test_one_probe_at_a_time_goes_through_half_open(client, prefix):
    config = {"failure_threshold": 1, "window_calls": 10, "open_s": 0.01, "permit_s": 30}

    def enough() -> None:
        until(lambda: int(client.get(f"{prefix}:probes") or 0) >= 40)
        client.set(f"{prefix}:stop", 1)

    answers = run(client, prefix, "probe", config, during=enough)
    assert sum(answer["probes"] for answer in answers) >= 40
    assert max(answer["together"] for answer in answers) == 1
    moves = [move for answer in answers for move in answer["moves"]]
    assert moves.count("CLOSED>OPEN") == 1
    assert moves.count("OPEN>HALF_OPEN") == sum(answer["probes"] for answer in answers)
    assert moves.count("HALF_OPEN>OPEN") == moves.count("OPEN>HALF_OPEN")


def test_the_permit_of_a_process_that_is_killed_expires_and_another_probe_goes(client, prefix):
    config = {"failure_threshold": 1, "window_calls": 10, "open_s": 0.01, "permit_s": 1.0}
    store, settings, now = SharedStore(client, prefix=prefix), Config(**config), At(now=0.0)
    holder = start(prefix, "hold", config)
    try:
        client.set(f"{prefix}:go", 1)
        until(lambda: client.get(f"{prefix}:held"))
    finally:
        holder.process.send_signal(signal.SIGKILL)
        holder.end()
    generation = store.peek("c", settings).step.circuit.generation
    replies = []

    def granted() -> bool:
        replies.append(store.acquire("c", settings, now, generation, token="mine", unshared=""))
        return replies[-1].step.permit is not None

    until(granted)
    assert {reply.step.circuit.generation for reply in replies} == {generation}  # half-open all the while
    assert replies[-1].step.permit.token == "mine"
    assert replies[-1].probes == 1
