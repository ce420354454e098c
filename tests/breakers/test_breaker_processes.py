"""Eight processes, one Valkey: no failure is lost, and one probe at a time goes through half-open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from helios.breakers.core import Config, State
from helios.breakers.store import SharedStore

ROOT = Path(__file__).resolve().parent.parent.parent
N_PROCESSES = 8
N_FAILURES = 100

WORKER = """
import json, sys, time
import redis
from helios.breakers.catalog import Settings
from helios.breakers.circuits import ProcessCircuit
from helios.breakers.core import Config, Outcome
from helios.breakers.errors import CircuitOpen
from helios.breakers.store import SharedStore

url, prefix, story, config = sys.argv[1], sys.argv[2], sys.argv[3], Config(**json.loads(sys.argv[4]))

class Notes:
    def __init__(self): self.moves = []
    def add(self, entry): self.moves.append(f"{entry.before}>{entry.after}")

client, notes = redis.Redis.from_url(url), Notes()
circuit = ProcessCircuit("c", Settings(config=config), store=SharedStore(client, prefix=prefix),
                         journal=notes, acting=lambda: True)
client.incr(prefix + ":ready")
while client.get(prefix + ":go") is None:
    pass

def count():
    for number in range(int(client.get(prefix + ":failures"))):
        circuit.record(circuit.acquire(), Outcome.SUCCESS)
        circuit.record(circuit.acquire(), Outcome.FAILURE)
    return {}

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

print(json.dumps({"moves": notes.moves, **{"count": count, "probe": probe}[story]()}))
"""


def run(client, prefix: str, story: str, config: dict[str, float], until=lambda: None) -> list[dict]:
    url = os.environ["HELIOS_REDIS_URL"]
    command = [sys.executable, "-c", WORKER, url, prefix, story, json.dumps(config)]
    workers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(N_PROCESSES)
    ]
    try:
        while int(client.get(f"{prefix}:ready") or 0) < N_PROCESSES:
            assert all(worker.poll() is None for worker in workers), [w.communicate()[1] for w in workers]
        client.set(f"{prefix}:go", 1)
        until()
        answers = [worker.communicate(timeout=60) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [worker.returncode for worker in workers] == [0] * N_PROCESSES, answers
    return [json.loads(out) for out, _ in answers]


def test_no_failure_of_eight_processes_is_lost_and_exactly_one_opens_the_circuit(client, prefix):
    total = N_PROCESSES * N_FAILURES
    config = {"failure_threshold": total, "minimum_calls": 1, "window_calls": 4 * total, "open_s": 60}
    client.set(f"{prefix}:failures", N_FAILURES)
    answers = run(client, prefix, "count", config)
    assert sorted(move for answer in answers for move in answer["moves"]) == ["CLOSED>OPEN"]
    circuit = SharedStore(client, prefix=prefix).peek("c", Config(**config)).step.circuit
    assert circuit.state is State.OPEN


def test_one_failure_fewer_leaves_it_closed_with_every_one_of_them_counted(client, prefix):
    total = N_PROCESSES * N_FAILURES
    config = {"failure_threshold": total + 1, "minimum_calls": 1, "window_calls": 4 * total, "open_s": 60}
    client.set(f"{prefix}:failures", N_FAILURES)
    answers = run(client, prefix, "count", config)
    assert [answer["moves"] for answer in answers] == [[]] * N_PROCESSES
    circuit = SharedStore(client, prefix=prefix).peek("c", Config(**config)).step.circuit
    assert circuit.state is State.CLOSED
    assert circuit.failures == total


def test_one_probe_at_a_time_goes_through_half_open(client, prefix):
    config = {"failure_threshold": 1, "window_calls": 10, "open_s": 0.01, "permit_s": 30}

    def enough() -> None:
        while int(client.get(f"{prefix}:probes") or 0) < 40:
            pass
        client.set(f"{prefix}:stop", 1)

    answers = run(client, prefix, "probe", config, until=enough)
    assert sum(answer["probes"] for answer in answers) >= 40
    assert max(answer["together"] for answer in answers) == 1
    moves = [move for answer in answers for move in answer["moves"]]
    assert moves.count("CLOSED>OPEN") == 1
    assert moves.count("OPEN>HALF_OPEN") == sum(answer["probes"] for answer in answers)
    assert moves.count("HALF_OPEN>OPEN") == moves.count("OPEN>HALF_OPEN")
