"""Flags: an evaluation beside UnleashClient and django-waffle on Redis, and how soon eight processes see a change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.timing import per_call_us

N_PROCESSES, N_CHANGES = 8, 100
NAME = "bench_percentage"
FLIPPED = "bench_flipped"
CONSTRAINT = {"contextName": "strategy", "operator": "IN", "values": ["momentum", "trend"]}
_UNLEASH_STATE = {
    "version": 2,
    "features": [
        {"name": "on", "enabled": True, "strategies": [{"name": "default", "parameters": {}}]},
        {
            "name": NAME,
            "enabled": True,
            "strategies": [
                {
                    "name": "flexibleRollout",
                    "parameters": {"rollout": "50", "stickiness": "userId", "groupId": NAME},
                    "constraints": [CONSTRAINT],
                }
            ],
        },
    ],
}


def measure() -> list[dict[str, Any]]:
    """One row a kind of work."""
    _prepare()
    unleash_on, unleash_share = _unleash()
    return [*_evaluations(unleash_on, unleash_share, _waffle()), _propagation()]


def _prepare() -> None:
    from helios.flags import services  # noqa: PLC0415
    from helios.flags.models import FeatureFlag  # noqa: PLC0415

    existing = set(FeatureFlag.objects.values_list("name", flat=True))
    if NAME not in existing:
        fields = {"strategy": "percentage", "percentage": 50, "enabled": True, "constraints": [CONSTRAINT]}
        services.create(NAME, fields, actor="bench")
    if FLIPPED not in existing:
        services.create(FLIPPED, {"enabled": False}, actor="bench")
    services.enable("garch_volatility", actor="bench")


def _evaluations(unleash_on: float, unleash_share: float, waffle: float) -> list[dict[str, Any]]:
    from helios import flags  # noqa: PLC0415

    context = flags.FlagContext(symbol="AAPL", strategy="momentum")
    flags.refresh_if_behind()
    on = per_call_us(lambda: flags.is_enabled("garch_volatility"))
    share = per_call_us(lambda: flags.is_enabled(NAME, context))
    return [
        _row("flag, on", on, "UnleashClient 6.9.1, from memory", unleash_on, "<= 1 us"),
        _row("flag, on", on, "django-waffle 5.0.0 switch, Redis cache", waffle, "<= 1 us"),
        _row("flag, percentage with a constraint", share, "UnleashClient 6.9.1", unleash_share, "<= 3 us"),
    ]


def _row(work: str, ours: float, peer: str, theirs: float | None, target: str) -> dict[str, Any]:
    return {"work": work, "ours": ours, "unit": "us", "peer": peer, "theirs": theirs, "target": target, "detail": {}}


def _unleash() -> tuple[float, float]:
    """A default strategy, and a flexible rollout with a constraint, in UnleashClient filled from memory."""
    from UnleashClient import UnleashClient  # noqa: PLC0415
    from UnleashClient.cache import FileCache  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        cache = FileCache("bench", directory=folder)
        cache.bootstrap_from_dict(_UNLEASH_STATE)
        client = UnleashClient(
            "http://127.0.0.1:9/api", "bench", cache=cache, disable_metrics=True, disable_registration=True
        )
        client.initialize_client(fetch_toggles=False)
        context = {"userId": "AAPL", "properties": {"strategy": "momentum"}}
        assert client.is_enabled("on")  # noqa: S101 - a peer that answers "off" would be measured for nothing
        on = per_call_us(lambda: client.is_enabled("on"))
        share = per_call_us(lambda: client.is_enabled(NAME, context))
        client.destroy()
    return on, share


def _waffle() -> float:
    """A switch of django-waffle whose cache is our Valkey, in a process with settings of its own."""
    run = subprocess.run([sys.executable, "-m", "bench.waffle_app"], capture_output=True, text=True, check=True)
    return float(json.loads(run.stdout.splitlines()[-1])["us"])


def _propagation() -> dict[str, Any]:
    """From before the change is written until the slowest of eight processes answers by it."""
    from helios.flags import services  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        watchers = [_watcher(Path(folder) / f"{index}.txt") for index in range(N_PROCESSES)]
        try:
            for watcher in watchers:
                watcher.stdout.readline()
            written = []
            for change in range(N_CHANGES):
                written.append(time.monotonic())
                (services.disable if change % 2 else services.enable)(FLIPPED, actor="bench")
                time.sleep(0.15)
            time.sleep(0.5)
        finally:
            for watcher in watchers:
                watcher.terminate()
                watcher.wait(10)
        seen = [np.loadtxt(Path(folder) / f"{index}.txt", ndmin=1) for index in range(N_PROCESSES)]
    if any(len(each) != N_CHANGES for each in seen):
        raise RuntimeError(f"each process must see {N_CHANGES} changes, saw {[len(each) for each in seen]}")
    delays = np.concatenate([each - np.array(written) for each in seen]) * 1e3
    detail = {"p50_ms": float(np.percentile(delays, 50)), "max_ms": float(delays.max())}
    return {
        "work": f"a change seen by {N_PROCESSES} processes (p99 of {delays.size})",
        "ours": float(np.percentile(delays, 99)),
        "unit": "ms",
        "peer": "UnleashClient polls, every 15 s by default",
        "theirs": None,
        "target": "<= 250 ms",
        "detail": detail,
    }


def _watcher(target: Path) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.flag_watcher", FLIPPED, str(target)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
