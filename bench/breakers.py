"""A closed breaker call, with state shared by all workers, beside pybreaker's two storages."""

from __future__ import annotations

from typing import Any

import pybreaker
import redis

from bench.timing import per_call_us


def measure(redis_url: str) -> list[dict[str, Any]]:
    """Ours, against pybreaker in memory and on Redis."""
    from helios.breakers import breaker  # noqa: PLC0415

    circuit = breaker("neural_network")
    ours = per_call_us(lambda: circuit.call(_nothing))
    local = pybreaker.CircuitBreaker()
    client = redis.Redis.from_url(redis_url)
    shared = pybreaker.CircuitBreaker(
        state_storage=pybreaker.CircuitRedisStorage(pybreaker.STATE_CLOSED, client, namespace="bench")
    )
    rows = [
        _row(ours, "pybreaker 1.4.1, one process", per_call_us(lambda: local.call(_nothing))),
        _row(ours, "pybreaker 1.4.1 on Redis", per_call_us(lambda: shared.call(_nothing), n=2_000)),
    ]
    client.close()
    return rows


def _nothing() -> None:
    return None


def _row(ours: float, peer: str, theirs: float) -> dict[str, Any]:
    return {
        "work": "closed breaker call, shared state",
        "ours": ours,
        "unit": "us",
        "peer": peer,
        "theirs": theirs,
        "target": "<= 2 us",
        "detail": {},
    }
