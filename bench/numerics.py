"""Features against bare TA-Lib calls, GARCH against arch, a flag lookup, a closed breaker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import talib

from bench.chain import synthetic_bars


def best_of(run: Callable[[], object], *, repeat: int = 5) -> float:
    """The shortest of several runs, in seconds."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def measure() -> list[dict[str, Any]]:
    """One row a kind of work."""
    return [_features(), _flag("garch_volatility"), _breaker()]


def _features() -> dict[str, Any]:
    from tiers.features import catalog  # noqa: PLC0415
    from tiers.features.compute import compute  # noqa: PLC0415

    bars = synthetic_bars(4, 20_000)
    n_values = bars.n_bars * bars.n_symbols * len(catalog.NAMES)
    ours = best_of(lambda: compute(bars))
    columns = [
        tuple(np.ascontiguousarray(getattr(bars, name)[:, i]) for name in ("high", "low", "close", "volume"))
        for i in range(bars.n_symbols)
    ]

    def bare() -> None:
        for high, low, close, volume in columns:
            talib.RSI(close, 14), talib.ADX(high, low, close, 14), talib.ATR(high, low, close, 14)
            talib.CCI(high, low, close, 20), talib.MFI(high, low, close, volume, 14), talib.ROC(close, 10)
            (
                talib.EMA(close, 20),
                talib.SMA(close, 50),
                talib.WILLR(high, low, close, 14),
                talib.MOM(close, 10),
            )

    theirs = best_of(bare) / (bars.n_bars * bars.n_symbols * 10)
    return {
        "work": f"{len(catalog.NAMES)} features, batch",
        "ours": ours / n_values * 1e9,
        "unit": "ns/value",
        "peer": "ten bare TA-Lib indicators",
        "theirs": theirs * 1e9,
        "target": "<= 1.5x",
        "detail": {},
    }


def _flag(name: str) -> dict[str, Any]:
    from helios import flags  # noqa: PLC0415

    flags.is_enabled(name)

    def many() -> None:
        for _ in range(100_000):
            flags.is_enabled(name)

    return {
        "work": "flag evaluation, all_on",
        "ours": best_of(many) / 100_000 * 1e6,
        "unit": "us",
        "peer": "target of DESIGN",
        "theirs": None,
        "target": "<= 1 us",
        "detail": {},
    }


def _breaker() -> dict[str, Any]:
    from helios.breakers import breaker  # noqa: PLC0415

    def nothing() -> None:
        return None

    circuit = breaker("neural_network")
    circuit.call(nothing)

    def many() -> None:
        for _ in range(20_000):
            circuit.call(nothing)

    return {
        "work": "closed breaker call, shared state",
        "ours": best_of(many) / 20_000 * 1e6,
        "unit": "us",
        "peer": "target of DESIGN",
        "theirs": None,
        "target": "<= 2 us",
        "detail": {},
    }
