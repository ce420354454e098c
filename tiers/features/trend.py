"""Where the price stands against its own past, and how straight the way there was."""

from __future__ import annotations

import numpy as np
import talib

from tiers.contracts import FloatArray
from tiers.features.own import Formula, OwnBars
from tiers.features.windows import lag, mean, ratio, total


def adx_14(bars: OwnBars) -> FloatArray:
    index = bars.each(lambda *hlc: talib.ADX(*hlc, 14), bars.high, bars.low, bars.close) / 100.0
    return np.where((bars.still_14 > 0) & ~np.isnan(index), 0.0, index)


def di_balance_14(bars: OwnBars) -> FloatArray:
    plus = bars.each(lambda *hlc: talib.PLUS_DI(*hlc, 14), bars.high, bars.low, bars.close)
    minus = bars.each(lambda *hlc: talib.MINUS_DI(*hlc, 14), bars.high, bars.low, bars.close)
    return np.where((bars.still_14 > 0) & ~np.isnan(plus), 0.0, (plus - minus) / 100.0)


def aroon_25(bars: OwnBars) -> FloatArray:
    return bars.each(lambda high, low: talib.AROONOSC(high, low, 25), bars.high, bars.low) / 100.0


def _ema_gap(bars: OwnBars, n: int) -> FloatArray:
    return (bars.close - bars.ema(n)) / bars.average_range


def sma_gap_50(bars: OwnBars) -> FloatArray:
    return (bars.close - mean(bars.close, 50)) / bars.average_range


def slope_20(bars: OwnBars) -> FloatArray:
    return bars.slope_20 * 20.0 / bars.average_range


def trend_fit_20(bars: OwnBars) -> FloatArray:
    spread_of_time = np.sqrt((20.0**2 - 1.0) / 12.0)
    fit = ratio(bars.slope_20 * spread_of_time, bars.level_20[1], empty=0.0)
    return np.clip(fit, -1.0, 1.0)


def efficiency_20(bars: OwnBars) -> FloatArray:
    return ratio(bars.close - lag(bars.close, 20), total(np.abs(bars.change), 20), empty=0.0)


FORMULAS: dict[str, Formula] = {
    "adx_14": adx_14,
    "di_balance_14": di_balance_14,
    "aroon_25": aroon_25,
    "ema_gap_10": lambda bars: _ema_gap(bars, 10),
    "ema_gap_30": lambda bars: _ema_gap(bars, 30),
    "sma_gap_50": sma_gap_50,
    "slope_20": slope_20,
    "trend_fit_20": trend_fit_20,
    "channel_55": lambda bars: bars.position_in_range(55),
    "efficiency_20": efficiency_20,
}
