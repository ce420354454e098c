"""How far and how fast the price went."""

from __future__ import annotations

import numpy as np
import talib

from tiers.contracts import FloatArray
from tiers.features.own_bars import Formula, OwnBars
from tiers.features.rolling import direction, lag, mean, ratio, total


def _scaled_return(bars: OwnBars, n: int) -> FloatArray:
    """Log return over `n` bars in units of what a random walk with the current volatility would do."""
    moved = np.log(bars.close / lag(bars.close, n))
    return ratio(moved, bars.deviation_20 * np.sqrt(n))


def _rsi_14(bars: OwnBars) -> FloatArray:
    strength = bars.each(talib.RSI, bars.close, periods=(14,)) / 50.0 - 1.0
    return np.where(total(np.abs(bars.change), 14) == 0, 0.0, strength)


def _stoch_d_14(bars: OwnBars) -> FloatArray:
    return mean(bars.stochastic_14, 3)


def _cci_20(bars: OwnBars) -> FloatArray:
    index = bars.each(talib.CCI, bars.high, bars.low, bars.close, periods=(20,)) / 100.0
    typical = bars.high + bars.low + bars.close
    moved = total(np.abs(direction(typical - lag(typical, 1), typical)), 19)
    return np.where(moved == 0, 0.0, index)


def _macd_line(bars: OwnBars) -> FloatArray:
    return bars.macd / bars.average_range


def _macd_histogram(bars: OwnBars) -> FloatArray:
    histogram = bars.each(talib.MACD, bars.close, periods=(12, 26, 9))
    return histogram / bars.average_range


def _trix_9(bars: OwnBars) -> FloatArray:
    per_bar = bars.each(talib.TRIX, bars.close, periods=(9,)) / 100.0
    return ratio(per_bar, bars.deviation_20)


FORMULAS: dict[str, Formula] = {
    "return_1": lambda bars: _scaled_return(bars, 1),
    "return_5": lambda bars: _scaled_return(bars, 5),
    "return_20": lambda bars: _scaled_return(bars, 20),
    "return_60": lambda bars: _scaled_return(bars, 60),
    "rsi_14": _rsi_14,
    "stoch_k_14": lambda bars: bars.stochastic_14,
    "stoch_d_14": _stoch_d_14,
    "cci_20": _cci_20,
    "macd_line": _macd_line,
    "macd_histogram": _macd_histogram,
    "trix_9": _trix_9,
}
