"""A synthetic market for tests: seeded daily bars with a US close."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from trading.bars import Bars


def make_bars(symbols: tuple[str, ...], *, n_bars: int, seed: int, start: str = "2021-01-04") -> Bars:
    """Random walks with daily closes on weekdays."""
    rng = np.random.default_rng(seed)
    days = np.datetime64(start) + np.arange(n_bars * 2)
    weekdays = days[np.is_busday(days)][:n_bars]
    ts = np.array([_close(day) for day in weekdays.tolist()], dtype="datetime64[us]")
    shape = (n_bars, len(symbols))
    close = 100 * np.exp(np.cumsum(rng.normal(0.0003, 0.012, shape), axis=0))
    opened = close * np.exp(rng.normal(0, 0.004, shape))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.004, shape)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.004, shape)))
    volume = rng.integers(1_000, 100_000, shape).astype(np.float64)
    return Bars(timeframe="1d", symbols=symbols, ts=ts, open=opened, high=high, low=low, close=close, volume=volume)


def _close(day: date) -> datetime:
    """16:00 in New York as naive UTC."""
    local = datetime(day.year, day.month, day.day, 16, tzinfo=ZoneInfo("America/New_York"))
    return local.astimezone(UTC).replace(tzinfo=None)
