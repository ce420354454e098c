"""Bars for the feature tests: a walk, holes in it, hard cases, real data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tiers.contracts import Bars, BoolArray, FloatArray
from tiers.features import catalog
from tiers.ingest.sources import table_from_frame
from tiers.ingest.table import FIELDS, union
from trading import sample_data

HOUR = np.timedelta64(3_600_000_000, "us")
START = np.datetime64("2024-01-01T01:00", "us")  # a Monday


def bars_of(close: FloatArray, **fields: FloatArray) -> Bars:
    """Hourly bars around (n_bars, n_symbols) closes; a price that is not given is the close, volume is 1."""
    close = np.asarray(close, np.float64)
    given = {"open": close, "high": close, "low": close, "volume": np.ones(close.shape)} | fields
    symbols = tuple(f"S{column}" for column in range(close.shape[1]))
    return Bars(timeframe="1h", symbols=symbols, ts=START + HOUR * np.arange(len(close)), close=close, **given)


def walk(n_bars: int, n_symbols: int = 1, seed: int = 1) -> Bars:
    """A random walk with honest bars: low <= open, close <= high, volume above zero."""
    chance = np.random.default_rng(seed)
    shape = (n_bars, n_symbols)
    close = 100.0 * np.exp(np.cumsum(chance.normal(0.0, 0.01, shape), axis=0))
    opened = close * np.exp(chance.normal(0.0, 0.004, shape))
    high = np.maximum(opened, close) * np.exp(np.abs(chance.normal(0.0, 0.003, shape)))
    low = np.minimum(opened, close) * np.exp(-np.abs(chance.normal(0.0, 0.003, shape)))
    return bars_of(close, open=opened, high=high, low=low, volume=chance.lognormal(3.0, 1.0, shape))


def with_holes(bars: Bars, holes: BoolArray) -> Bars:
    """The same bars, with no bar where `holes` (n_bars, n_symbols) is true."""
    return replace(bars, **{name: np.where(holes, np.nan, getattr(bars, name)) for name in FIELDS})


def chosen(bars: Bars, rows: npt.NDArray[np.intp] | slice, symbol: int) -> Bars:
    """Some rows of one symbol."""
    fields = {name: getattr(bars, name)[rows, symbol : symbol + 1] for name in FIELDS}
    return replace(bars, symbols=(bars.symbols[symbol],), ts=bars.ts[rows], **fields)


def own_rows(bars: Bars, symbol: int) -> npt.NDArray[np.intp]:
    return np.flatnonzero(~np.isnan(bars.close[:, symbol]))


def real(timeframe: str, *symbols: str, last: int) -> Bars:
    """The last bars of bundled series on their union timeline."""
    tables = [table_from_frame(symbol, timeframe, sample_data.load(symbol, timeframe)) for symbol in symbols]
    return union([table.take(slice(max(0, table.n_rows - last), None)) for table in tables], timeframe)


def hard_cases() -> dict[str, Bars]:
    """Bars at which a careless formula divides by zero or takes the logarithm of it."""
    n_bars, calm = 140, walk(140)
    flat = np.full((n_bars, 1), 7.0)
    stop = walk(n_bars)
    stop.close[60:], stop.open[60:], stop.high[60:], stop.low[60:] = (stop.close[60],) * 4
    noise = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], (400, 8))
    return {
        "flat": bars_of(flat),
        "flat without volume": bars_of(flat, volume=np.zeros((n_bars, 1))),
        "no volume": replace(calm, volume=np.zeros((n_bars, 1))),
        "unknown volume": replace(calm, volume=np.full((n_bars, 1), np.nan)),
        "infinite volume": replace(calm, volume=np.full((n_bars, 1), np.inf)),
        "moves and then stands still": stop,
        "one jump": bars_of(np.where(np.arange(n_bars)[:, None] < 70, 7.0, 7000.0)),
        "one spike": bars_of(np.where(np.arange(n_bars)[:, None] == 70, 1e-6, 1e6)),
        "steady growth": bars_of(np.exp(0.01 * np.arange(n_bars))[:, None]),
        "almost steady growth": bars_of(np.exp(np.cumsum(0.01 + 1e-6 * noise, axis=0))),
        "nearly steady growth": bars_of(np.exp(np.cumsum(0.01 + 1e-7 * noise, axis=0))),
        "tiny prices": bars_of(1e-9 * walk(n_bars).close),
        "huge prices": bars_of(1e12 * walk(n_bars).close),
        "one bar": walk(1),
        "two bars": walk(2),
        "no bars": walk(4).rows(slice(0, 0)),
    }


def column(features: FloatArray, name: str) -> FloatArray:
    """(n_bars, n_symbols) of one feature."""
    return features[:, :, catalog.NAMES.index(name)]
