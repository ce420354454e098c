"""Made-up markets for the feature tests: a random walk with intraday ranges, volume and, on demand, gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiers.contracts import Bars, FloatArray

FIELDS = ("open", "high", "low", "close", "volume")


def random_walk(n_bars: int, n_symbols: int = 1, *, seed: int = 1, timeframe: str = "1h", price: float = 100.0) -> Bars:
    """Bars of a walk with volatility clusters, gaps between bars and trading volume; deterministic in `seed`."""
    rng = np.random.default_rng(seed)
    shape = (n_bars, n_symbols)
    sigma = 0.01 * np.exp(0.5 * np.sin(np.arange(n_bars) / 37.0))[:, None]
    close = price * np.exp(np.cumsum(rng.normal(0.0002, 1.0, shape) * sigma, axis=0))
    before = np.vstack([np.full((1, n_symbols), price), close[:-1]])
    opened = before * np.exp(rng.normal(0.0, 0.3, shape) * sigma)
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, 0.5, shape)) * sigma)
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, 0.5, shape)) * sigma)
    volume = np.exp(rng.normal(10.0, 0.7, shape))
    return bars_of(opened, high, low, close, volume, timeframe=timeframe)


def bars_of(*fields: FloatArray, timeframe: str = "1h") -> Bars:
    """Bars with one symbol a column, an hour apart, from open, high, low, close and volume."""
    columns = [np.asarray(f, dtype=float).reshape(len(f), -1) for f in fields]
    ts = np.datetime64("2020-01-01T01:00", "us") + np.arange(len(columns[0])) * np.timedelta64(1, "h")
    symbols = tuple(f"S{i}" for i in range(columns[0].shape[1]))
    return Bars(timeframe=timeframe, symbols=symbols, ts=ts, **dict(zip(FIELDS, columns, strict=True)))


def flat(n_bars: int, *, price: float = 100.0, volume: float = 10.0) -> Bars:
    """A market that stands still."""
    level = np.full(n_bars, price)
    return bars_of(level, level, level, level, np.full(n_bars, volume))


def without(bars: Bars, rows: object, symbol: int) -> Bars:
    """The same bars, but this symbol has none in these rows."""
    fields = {name: getattr(bars, name).copy() for name in FIELDS}
    for values in fields.values():
        values[rows, symbol] = np.nan
    return replace(bars, **fields)
