"""Small tables of bars that tests share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.support.places import SHARED
from tiers.contracts import timeframes
from trading.market.bars import BarTable, bar_table

SHARED_DATA = SHARED / "data"


def needs(*parts: str) -> Path:
    """A file of the shared test data; the test is skipped where the folder is absent."""
    path = SHARED_DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the shared test data: {'/'.join(parts)} is absent")
    return path


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def random_bars(
    n: int, *, symbol: str = "X", timeframe: str = "1m", first: str = "2024-03-01T00:01", seed: int = 0
) -> BarTable:
    """`n` bars without a gap whose first closes at `first`."""
    rng = np.random.default_rng(seed)
    step = np.timedelta64(timeframes.seconds(timeframe), "s")
    open_ = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, n)))
    close = open_ * np.exp(rng.normal(0, 0.001, n))
    high = np.maximum(open_, close) * (1 + rng.random(n) * 0.001)
    low = np.minimum(open_, close) * (1 - rng.random(n) * 0.001)
    ts = np.datetime64(first, "us") + np.arange(n) * step
    return bar_table(symbol, timeframe, ts, [open_, high, low, close, rng.integers(0, 10_000, n) / 8])


def bars(*rows: tuple[str, float, float, float, float, float], timeframe: str = "1m", symbol: str = "X") -> BarTable:
    """Rows (close in UTC, open, high, low, close, volume), in the order given."""
    ts = np.array([row[0] for row in rows], "datetime64[us]")
    return bar_table(symbol, timeframe, ts, [np.array([row[k] for row in rows], float) for k in range(1, 6)])
