"""A bare chain of seven empty tasks against a cycle of twenty symbols, on the same servers and worker set-up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import redis
from celery import chain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helios.env import Env

N_SYMBOLS, HISTORY, N_CYCLES, N_CHAINS = 20, 2_000, 60, 200
N_COUNTED, SEED = 15, 11
_BOOK: dict[str, Any] = {
    "timeframe": "1d",
    "first": None,
    "cash": Decimal(1_000_000),
    "name": None,
    "auto_trading": True,
}


def measure(env: Env, redis_url: str) -> list[dict[str, Any]]:
    """p50 and p95 of both, in milliseconds."""
    os.environ["HELIOS_REDIS_URL"] = redis_url
    bare = _bare(env, redis_url)
    cycle, tiers = _cycles()
    return [
        {
            "work": f"one live cycle, {N_SYMBOLS} symbols, compact model (p50)",
            "ours": cycle["p50_ms"],
            "unit": "ms",
            "peer": "bare Celery chain of seven empty tasks (p50)",
            "theirs": float(np.percentile(bare, 50)),
            "target": "<= 8x",
            "detail": {"cycle": cycle, "tiers": tiers, "bare_p95_ms": float(np.percentile(bare, 95))},
        },
        _round_trips(),
    ]


def _bare(env: Env, redis_url: str) -> list[float]:
    from bench import bare_app  # noqa: PLC0415 - reads its address from the environment

    client = redis.Redis.from_url(redis_url)
    times = []
    with _bare_workers(env):
        for number in range(N_CHAINS + 20):
            began = time.perf_counter()
            first, *rest = bare_app.TASKS
            chain(first.s(number), *(task.s() for task in rest), app=bare_app.app).apply_async()
            if client.blpop("bench:done", timeout=30) is None:
                raise RuntimeError("a bare chain must end within 30 s, it did not")
            times.append((time.perf_counter() - began) * 1e3)
    return times[20:]


@contextmanager
def _bare_workers(env: Env) -> Iterator[None]:
    from bench import bare_app  # noqa: PLC0415

    words = [sys.executable, "-m", "celery", "-A", "bench.bare_app", "worker", "-l", "ERROR", "-P", "prefork"]
    layouts = (("default,ingest,execution", env.worker_concurrency), ("gpu", 1))
    running = [
        subprocess.Popen(
            [*words, "-Q", queues, "-c", str(count), "-n", f"bare-{queues[:3]}@%h"],
            env=dict(os.environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for queues, count in layouts
    ]
    try:
        while len(bare_app.app.control.ping(timeout=0.5) or []) < len(running):
            pass
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def _cycles() -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    from helios.stack.workers import running_workers  # noqa: PLC0415 - Django is set up by now
    from tiers.live import replay  # noqa: PLC0415

    symbols = _market()
    plan = replay.prepare(symbols=symbols, n_bars=N_CYCLES, **_BOOK)
    with running_workers(), replay.stored_book(plan) as book:
        ids = replay.run(plan, timeout_s=60)
    table = replay.summary(book.pk, ids[5:], elapsed_s=0)["latency"]
    return table.pop("cycle"), table


def _round_trips() -> dict[str, Any]:
    """What cycles of the same market ask of the database, BEGIN and COMMIT included: the median of some."""
    from django.db import connection  # noqa: PLC0415 - Django is set up by now
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    from tiers.live import (  # noqa: PLC0415
        chain,
        replay,
        schedule,
        stages,
    )
    from trading.models import Order  # noqa: PLC0415

    counted = []
    with replay.stored_book(replay.prepare(symbols=_market(), n_bars=N_COUNTED, **_BOOK)) as book:
        for _ in range(N_COUNTED):
            with CaptureQueriesContext(connection) as asked:
                cycle = chain.start(book, schedule.next_replayed(book), send=False)
                for stage in chain.STAGES:
                    stages.run_stage(cycle.pk, stage)
            counted.append((len(asked), Order.objects.filter(cycle=cycle).count()))
    asked, orders = sorted(counted[5:])[len(counted[5:]) // 2]
    return {
        "work": f"round trips to the database of one live cycle, {N_SYMBOLS} symbols, {orders} orders among them",
        "ours": asked,
        "unit": "",
        "peer": "none does it",
        "theirs": None,
        "target": "<= 50 without orders",
        "detail": {"round_trips_and_orders": counted},
    }


def _market() -> list[str]:
    """Twenty synthetic daily series, stored once, and a model trained on four of them."""
    from django.core.management import call_command  # noqa: PLC0415

    from trading.market import instruments  # noqa: PLC0415
    from trading.market import write as market  # noqa: PLC0415
    from trading.models import MLModel  # noqa: PLC0415

    bars = synthetic_bars(N_SYMBOLS, HISTORY)
    for symbol in bars.symbols:
        instruments.ensure_instrument(symbol, "equity")
    market.upsert_bars(bars, source="bench")
    if not MLModel.objects.filter(timeframe="1d", role="champion").exists():
        call_command("train", "--symbols", ",".join(bars.symbols[:4]), "--timeframe", "1d", "--json", stdout=sys.stderr)
    return list(bars.symbols)


def synthetic_bars(n_symbols: int, n_bars: int) -> Any:
    """Seeded random walks with daily closes at 16:00 New York on business days."""
    from datetime import datetime  # noqa: PLC0415

    from trading.market.bars import Bars  # noqa: PLC0415

    rng = np.random.default_rng(SEED)
    days = np.busday_offset(np.datetime64("2012-01-03"), np.arange(n_bars), roll="forward")
    zone = ZoneInfo("America/New_York")
    closes = [
        datetime(d.year, d.month, d.day, 16, tzinfo=zone).astimezone(UTC).replace(tzinfo=None) for d in days.tolist()
    ]
    shape = (n_bars, n_symbols)
    close = 100 * np.exp(np.cumsum(rng.normal(0.0003, 0.015, shape), axis=0))
    opened = close * np.exp(rng.normal(0, 0.004, shape))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.004, shape)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.004, shape)))
    return Bars(
        timeframe="1d",
        symbols=tuple(f"S{i:02d}" for i in range(n_symbols)),
        ts=np.array(closes, dtype="datetime64[us]"),
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=rng.integers(10_000, 1_000_000, shape).astype(np.float64),
    )
