"""More bars for the feature tests: from closes alone, with holes, hard cases, real data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tests.support.feature_markets import FIELDS, random_walk
from tiers.contracts import Bars, BoolArray, FloatArray
from tiers.features import catalog
from trading import sample_data
from trading.market.bars import union
from trading.market.feeds.files import table_from_frame

HOUR = np.timedelta64(3_600_000_000, "us")
START = np.datetime64("2024-01-01T01:00", "us")  # a Monday


def bars_from(close: FloatArray, **fields: FloatArray) -> Bars:
    """Hourly bars around (n_bars, n_symbols) closes; a price that is not given is the close, volume is 1."""
    close = np.asarray(close, np.float64)
    given = {"open": close, "high": close, "low": close, "volume": np.ones(close.shape)} | fields
    symbols = tuple(f"S{column}" for column in range(close.shape[1]))
    return Bars(timeframe="1h", symbols=symbols, ts=START + HOUR * np.arange(len(close)), close=close, **given)


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
    n_bars, calm = 140, random_walk(140)
    flat = np.full((n_bars, 1), 7.0)
    stop = random_walk(n_bars)
    stop.close[60:], stop.open[60:], stop.high[60:], stop.low[60:] = (stop.close[60],) * 4
    noise = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], (400, 8))
    return {
        "flat": bars_from(flat),
        "flat without volume": bars_from(flat, volume=np.zeros((n_bars, 1))),
        "no volume": replace(calm, volume=np.zeros((n_bars, 1))),
        "unknown volume": replace(calm, volume=np.full((n_bars, 1), np.nan)),
        "infinite volume": replace(calm, volume=np.full((n_bars, 1), np.inf)),
        "moves and then stands still": stop,
        "one jump": bars_from(np.where(np.arange(n_bars)[:, None] < 70, 7.0, 7000.0)),
        "one spike": bars_from(np.where(np.arange(n_bars)[:, None] == 70, 1e-6, 1e6)),
        "steady growth": bars_from(np.exp(0.01 * np.arange(n_bars))[:, None]),
        "almost steady growth": bars_from(np.exp(np.cumsum(0.01 + 1e-6 * noise, axis=0))),
        "nearly steady growth": bars_from(np.exp(np.cumsum(0.01 + 1e-7 * noise, axis=0))),
        "tiny prices": bars_from(1e-9 * random_walk(n_bars).close),
        "huge prices": bars_from(1e12 * random_walk(n_bars).close),
        "one bar": random_walk(1),
        "two bars": random_walk(2),
        "no bars": random_walk(4).rows(slice(0, 0)),
    }


def column(features: FloatArray, name: str) -> FloatArray:
    """(n_bars, n_symbols) of one feature."""
    return features[:, :, catalog.NAMES.index(name)]


def in_ticks(n_bars: int, n_symbols: int = 1, *, tick: str = "0.01", seed: int = 1) -> Bars:
    """A walk of a few ticks a bar, so that many moves and prices are equal, as those of a quiet minute are."""
    rng = np.random.default_rng(seed)
    shape = (n_bars, n_symbols)
    close = 40_000 + np.cumsum(rng.integers(-2, 3, shape), axis=0)
    opened = close + rng.integers(-1, 2, shape)
    high, low = (
        np.maximum(opened, close) + rng.integers(0, 3, shape),
        np.minimum(opened, close) - rng.integers(0, 3, shape),
    )
    per_unit = round(1 / float(tick))
    prices = {name: values / per_unit for name, values in (("open", opened), ("high", high), ("low", low))}
    return bars_from(close / per_unit, **prices, volume=np.exp(rng.normal(5.0, 1.0, shape)))
