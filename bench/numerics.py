"""Features against bare TA-Lib calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import talib

from bench.chain import synthetic_bars
from bench.timing import best_of


def measure() -> list[dict[str, Any]]:
    """One row a kind of work."""
    return [_features()]


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
