"""How long a task waits for a swap: workers call a module without a pause while it is swapped back and forth."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

N_PROCESSES, N_SWAPS = 4, 10
SLOT, CHALLENGER = "predict", "examples.modules.predict_tempered"


def measure() -> list[dict[str, Any]]:
    """One row: the longest that any task was held up by the switch."""
    from helios.modules import services  # noqa: PLC0415

    version = services.register(SLOT, CHALLENGER, actor="bench")
    with tempfile.TemporaryDirectory() as folder:
        callers = [_caller(Path(folder) / f"{index}.txt") for index in range(N_PROCESSES)]
        try:
            for caller in callers:
                caller.stdout.readline()
            time.sleep(1.0)
            began = time.perf_counter()
            for swap in range(N_SWAPS):
                if swap % 2:
                    services.rollback(SLOT, actor="bench", reason="measured")
                else:
                    services.swap(SLOT, version.label, actor="bench", reason="measured")
                time.sleep(0.5)
            took = time.perf_counter() - began
        finally:
            for caller in callers:
                caller.terminate()
                caller.wait(10)
        pauses = np.concatenate([np.loadtxt(Path(folder) / f"{i}.txt", ndmin=1) for i in range(N_PROCESSES)])
    if len(pauses) < N_PROCESSES * N_SWAPS:
        raise RuntimeError(f"each of {N_PROCESSES} processes must see {N_SWAPS} switches, saw {len(pauses)} in all")
    detail = {"switches": len(pauses), "p50_ms": float(np.percentile(pauses, 50)), "swaps_took_s": took}
    return [
        {
            "work": f"start of the task that meets a swap, {N_PROCESSES} processes (longest of {len(pauses)})",
            "ours": float(pauses.max()),
            "unit": "ms",
            "peer": "a worker that is started again",
            "theirs": None,
            "target": "<= 50 ms",
            "detail": detail,
        }
    ]


def _caller(target: Path) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.module_caller", SLOT, str(target)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
