"""The market context: what the strategic analyst may know, computed for all bars at once or for the last one.

Every figure has a finite memory of own bars, so a live window of `WINDOW_BARS` gives the batch values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numba
import numpy as np

from tiers.contracts import BUY, SELL, BookView, BoolArray, FloatArray, Forecast, MarketContext
from tiers.contracts.errors import DataError

FAST, SLOW = 20, 100  # own bars of the moving averages
RECENT, TYPICAL = 20, 250  # own returns of the two volatilities
WINDOW_BARS = TYPICAL + 1

ROUNDING = 1e-12  # a price equal to its own average is not above it
TURBULENT_RATIO = 1.75  # recent over typical volatility
TREND_GAP = 0.5  # of the fast from the slow average, in typical volatilities of SLOW bars


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPath:
    """Cross-section means over time, (n_bars,) each; NaN where no symbol has enough history."""

    trend: FloatArray
    volatility_ratio: FloatArray
    breadth: FloatArray

    def __len__(self) -> int:
        return len(self.trend)


def statistics(close: FloatArray, ended: BoolArray | None = None) -> ContextPath:
    """Trend, volatility ratio and breadth at every bar.

    `close` is (n_bars, n_symbols) positive prices, NaN where a symbol has no bar; the symbol then keeps the
    figures of its last own bar, until it has `ended` (n_bars, n_symbols). Each figure is the mean over the symbols that
    have it: ln(fast average / slow average) over the typical volatility of `SLOW` bars; recent over typical
    volatility; the share of symbols above their slow average. `DataError` when `close` is not two-dimensional.
    """
    if close.ndim != 2:
        raise DataError(f"close must be (n_bars, n_symbols), was {close.shape}")
    total, count = np.zeros((len(close), 3)), np.zeros((len(close), 3))
    for j in range(close.shape[1]):
        own = np.flatnonzero(np.isfinite(close[:, j]))
        own_row = np.searchsorted(own, np.arange(len(close)), side="right") - 1
        figures = _own_figures(np.ascontiguousarray(close[own, j]))[own_row]
        shown = (own_row >= 0) & (True if ended is None else ~ended[:, j])
        known = np.isfinite(figures) & shown[:, None]
        total += np.where(known, figures, 0.0)
        count += known
    means = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
    return ContextPath(trend=means[:, 0], volatility_ratio=means[:, 1], breadth=means[:, 2])


@numba.njit(cache=True)
def _own_figures(prices: FloatArray) -> FloatArray:
    """(n + 1, 3) figures of one symbol on its own bars; the last row, NaN, stands for "no bar yet"."""
    n = len(prices)
    out = np.full((n + 1, 3), np.nan)
    returns = np.zeros(n)
    for k in range(1, n):
        returns[k] = math.log(prices[k] / prices[k - 1])
    for k in range(SLOW - 1, n):
        fast, slow = 0.0, 0.0
        for i in range(SLOW):
            slow += prices[k - i] / SLOW
            fast += prices[k - i] / FAST if i < FAST else 0.0
        out[k, 2] = 1.0 if prices[k] > slow * (1.0 + ROUNDING) else 0.0
        if k < TYPICAL:
            continue
        recent, typical = 0.0, 0.0
        for i in range(TYPICAL):
            typical += returns[k - i] ** 2 / TYPICAL
            recent += returns[k - i] ** 2 / RECENT if i < RECENT else 0.0
        if typical > 0.0:
            out[k, 0] = math.log(fast / slow) / math.sqrt(typical * SLOW)
            out[k, 1] = math.sqrt(recent / typical)
    return out


def regime(trend: float, volatility_ratio: float) -> str:
    """Name of the market's condition; "unknown" without figures."""
    if math.isnan(trend) or math.isnan(volatility_ratio):
        return "unknown"
    if volatility_ratio >= TURBULENT_RATIO:
        return "turbulent"
    if abs(trend) < TREND_GAP:
        return "ranging"
    return "trending_up" if trend > 0 else "trending_down"


def context(
    path: ContextPath,
    row: int,
    *,
    bar_ts: datetime,
    symbols: tuple[str, ...],
    forecast: Forecast,
    book: BookView,
) -> MarketContext:
    """The context of one bar; figures that are not known stay NaN."""
    trend, ratio = float(path.trend[row]), float(path.volatility_ratio[row])
    edge = forecast.probability[:, BUY] - forecast.probability[:, SELL]
    known = edge[np.isfinite(edge)]
    return MarketContext(
        bar_ts=bar_ts,
        symbols=symbols,
        regime=regime(trend, ratio),
        trend=trend,
        volatility_ratio=ratio,
        breadth=float(path.breadth[row]),
        mean_edge=float(known.mean()) if len(known) else math.nan,
        drawdown=book.drawdown,
        gross_exposure=float(np.abs(book.weights).sum()),
    )
