"""The shortest of several runs: what the other measurements share."""

from __future__ import annotations

import time
from collections.abc import Callable


def best_of(run: Callable[[], object], *, repeat: int = 5) -> float:
    """The shortest of several runs, in seconds."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def per_call_us(call: Callable[[], object], *, n: int = 20_000, repeat: int = 5) -> float:
    """Microseconds a call, the loop's own cost included."""

    def many() -> None:
        for _ in range(n):
            call()

    return best_of(many, repeat=repeat) / n * 1e6
