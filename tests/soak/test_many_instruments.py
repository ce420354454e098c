"""Two hundred instruments in real time: the stream keeps up for minutes, and holds no more memory than at first."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from statistics import median

import psutil
import redis

from helios.stack.processes import ProcessSpec
from tests.support.harness import Stack
from tests.support.venues.tape import MINUTE, Tape
from tests.support.venues.valr import StandIn

MINUTES = int(float(os.environ.get("SOAK_MINUTES", "10")))
N, TRADES_A_SECOND = 200, 400


def test_two_hundred_instruments_for_ten_minutes(stack: Stack) -> None:
    rng = random.Random(1)
    names = [f"C{k:03d}" for k in range(N)]
    tapes = {(name, "ZAR"): Tape() for name in names}
    start = datetime.now(UTC)
    for tape in tapes.values():
        tape.add(start - timedelta(minutes=2), "100", "1")
    sent, held = dict[tuple[str, datetime], float](), list[float]()
    with StandIn(tapes, limited=False) as venue:
        stack.environ["HELIOS_VALR_URL"] = venue.url
        argv = [sys.executable, "manage.py", "stream", "--pairs", *(f"{name}-ZAR" for name in names)]
        stack.start(ProcessSpec(name="stream", argv=argv))
        stack.wait_for(lambda: venue.stream.n_subscribed >= 3, what="a subscription")
        process = psutil.Process(stack.processes["stream"].pid)
        told = datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE
        end = told + MINUTES * MINUTE
        while (now := datetime.now(UTC)) < end:
            if now >= told + MINUTE:
                for (name, quote), tape in tapes.items():
                    for bar in tape.minutes(told, told + MINUTE):
                        sent[f"VALR:{name}-{quote}", told + MINUTE] = time.time()
                        venue.stream.bucket(f"{name}{quote}", bar)
                told += MINUTE
                held.append(process.memory_info().rss / 2**20)
            for name in rng.choices(names, k=TRADES_A_SECOND // 20):
                one = tapes[name, "ZAR"].add(datetime.now(UTC), f"{100 + rng.random():.2f}", "0.5")
                venue.stream.trade(f"{name}ZAR", one)
            time.sleep(0.05)
        stack.wait_for(lambda: len(_took(stack, sent)) == len(sent), timeout_s=60, what="the last bars")
        took, above = _took(stack, sent), _took(stack, sent, {"5m", "15m", "1h"})
    settled = held[len(held) // 3]
    print(  # noqa: T201 - the soak says what it measured
        f"{N} instruments in {MINUTES} min: {_described(took)}; above them {_described(above)}; "
        f"memory {settled:.0f} -> {held[-1]:.0f} MiB"
    )
    first, last = (median(part) for part in (took[: len(took) // 3], took[-len(took) // 3 :]))
    assert last < 1.5 * first + 10, "the lag grows"
    assert max(took) < 5_000
    assert held[-1] < 1.05 * settled + 5


def _described(took: list[float]) -> str:
    if not took:
        return "no bar"
    took = sorted(took)
    p50, p99 = (took[int(len(took) * part)] for part in (0.5, 0.99))
    return f"{len(took)} bars, p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {took[-1]:.0f} ms"


def _took(stack: Stack, sent: dict[tuple[str, datetime], float], of: Collection[str] = ("1m",)) -> list[float]:
    """Milliseconds from the venue's message to the event that follows its commit, by the time in that one's name.

    Of the bars of these timeframes, in their order.
    """
    found = []
    client = redis.Redis.from_url(stack.valkey.url())
    for name, fields in client.xrange("helios:bus:market"):
        event = json.loads(fields[b"body"])
        at = sent.get((event["symbol"], datetime.fromisoformat(event["bar_ts"])))
        if event["timeframe"] in of and at is not None:
            found.append(int(name.split(b"-")[0]) - at * 1_000)
    return found
