"""Bars that the tests of storage share."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from tiers.contracts import Bars, timeframes

FIELDS = ("open", "high", "low", "close", "volume")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def make_bars(
    n: int,
    *symbols: str,
    timeframe: str = "1m",
    first: str = "2024-03-01T00:01",
    seed: int = 0,
    holes: float = 0.0,
) -> Bars:
    """Random bars of some symbols; `holes` is the share of bars that do not exist."""
    rng = np.random.default_rng(seed)
    shape = (n, len(symbols))
    ts = np.datetime64(first, "us") + np.arange(n) * np.timedelta64(timeframes.seconds(timeframe), "s")
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, shape), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.001, shape))
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    fields = dict(zip(FIELDS, (open_, high, low, close, rng.random(shape) * 1e6), strict=True))
    gone = rng.random(shape) < holes
    for values in fields.values():
        values[gone] = np.nan
    return Bars(timeframe=timeframe, symbols=symbols, ts=ts, **fields)


def same(one: Bars, other: Bars) -> None:
    """Assert equality to the last bit."""
    assert (one.symbols, one.timeframe) == (other.symbols, other.timeframe)
    for name in ("ts", *FIELDS):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def changed(bars: Bars, row: int, **values: float) -> Bars:
    """The same bars but for some values of one row."""
    fields = {name: getattr(bars, name).copy() for name in FIELDS}
    for name, value in values.items():
        fields[name][row, 0] = value
    return Bars(timeframe=bars.timeframe, symbols=bars.symbols, ts=bars.ts, **fields)
