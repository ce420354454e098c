"""From bars to features: each symbol on its own bars, every row from the past alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tiers.contracts import Bars, BoolArray, FloatArray
from tiers.features import candle, catalog, distribution, momentum, time_of_day, trend, volatility, volume
from tiers.features.own_bars import Formula, OwnBars

FORMULAS: dict[str, Formula] = {
    **momentum.FORMULAS,
    **trend.FORMULAS,
    **volatility.FORMULAS,
    **volume.FORMULAS,
    **candle.FORMULAS,
    **distribution.FORMULAS,
    **time_of_day.FORMULAS,
}

# Symbols go through together while their intermediates stay in the second-level cache.
_VALUES_AT_ONCE = 12_288


def compute(bars: Bars) -> FloatArray:
    """The features of `catalog.NAMES` for every bar and symbol: (n_bars, n_symbols, n_features) float64.

    A symbol's features come from its own bars only: rows where one of its four prices is missing are taken
    out, and are NaN in the result. Warm-up rows (before `catalog.LOOKBACK`) are NaN. A quotient by zero is
    NaN or the bounded value that the catalogue names; nothing is infinite. Unknown volume makes only the
    volume features NaN, and only where their window holds it. Row t depends on rows <= t, and, to 1e-9, on
    the last `catalog.WINDOW_BARS` own rows.

    The result is a view on memory ordered (n_symbols, n_features, n_bars): a feature's history is contiguous.
    """
    result = np.full((bars.n_symbols, len(catalog.NAMES), bars.n_bars), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for symbols, present in _groups(bars):
            _fill(result, bars, symbols, present)
    return result.transpose(2, 0, 1)


def _present(bars: Bars) -> BoolArray:
    """(n_symbols, n_bars): all four prices are there."""
    known = np.ones((bars.n_bars, bars.n_symbols), dtype=np.bool_)
    for prices in (bars.open, bars.high, bars.low, bars.close):
        known &= np.isfinite(prices) & (prices > 0)
    return np.ascontiguousarray(known.T)


def _groups(bars: Bars) -> Iterator[tuple[list[int], BoolArray]]:
    """Symbols that have bars at the same times, in portions that fit the cache."""
    patterns: dict[bytes, list[int]] = {}
    present = _present(bars)
    for symbol in range(bars.n_symbols):
        patterns.setdefault(present[symbol].tobytes(), []).append(symbol)
    for symbols in patterns.values():
        rows = present[symbols[0]]
        n_own = int(rows.sum())
        if n_own == 0:
            continue
        portion = max(1, _VALUES_AT_ONCE // n_own)
        for start in range(0, len(symbols), portion):
            yield symbols[start : start + portion], rows


def _fill(result: npt.NDArray[np.float64], bars: Bars, symbols: list[int], present: BoolArray) -> None:
    own = _own(bars, symbols, present)
    if present.all():
        for feature, name in enumerate(catalog.NAMES):
            result[symbols, feature] = FORMULAS[name](own)
        return
    rows, chosen = np.flatnonzero(present)[None, :], np.array(symbols)[:, None]
    for feature, name in enumerate(catalog.NAMES):
        result[chosen, feature, rows] = FORMULAS[name](own)


def _own(bars: Bars, symbols: list[int], present: BoolArray) -> OwnBars:
    def pick(values: FloatArray) -> FloatArray:
        return np.ascontiguousarray(values[present][:, symbols].T, dtype=np.float64)

    volume = pick(bars.volume)

    return OwnBars(
        ts=bars.ts[present],
        open=pick(bars.open),
        high=pick(bars.high),
        low=pick(bars.low),
        close=pick(bars.close),
        volume=np.where(np.isfinite(volume) & (volume >= 0), volume, np.nan),
    )
