"""Where the price stands against its own past, and how straight the way there was."""

from __future__ import annotations

import numpy as np
import talib

from tiers.contracts import FloatArray
from tiers.features.own_bars import Formula, OwnBars
from tiers.features.rolling import lag, mean, ratio, total


def _adx_14(bars: OwnBars) -> FloatArray:
    index = bars.directional[1]
    return np.where(bars.still_14 & ~np.isnan(index), 0.0, index)


def _di_balance_14(bars: OwnBars) -> FloatArray:
    balance = bars.directional[0]
    return np.where(bars.still_14 & ~np.isnan(balance), 0.0, balance)


def _aroon_25(bars: OwnBars) -> FloatArray:
    return bars.each(talib.AROONOSC, bars.high, bars.low, periods=(25,)) / 100.0


def _ema_gap_10(bars: OwnBars) -> FloatArray:
    return (bars.close - bars.ema(10)) / bars.average_range


def _ema_gap_26(bars: OwnBars) -> FloatArray:
    return (bars.close - bars.ema_26) / bars.average_range


def _sma_gap_50(bars: OwnBars) -> FloatArray:
    return (bars.close - mean(bars.close, 50)) / bars.average_range


def _slope_20(bars: OwnBars) -> FloatArray:
    return bars.level_20[2] * 20.0 / bars.average_range


def _trend_fit_20(bars: OwnBars) -> FloatArray:
    spread_of_time = np.sqrt((20.0**2 - 1.0) / 12.0)
    _, deviation, slope = bars.level_20
    return np.clip(ratio(slope * spread_of_time, deviation, empty=0.0), -1.0, 1.0)


def _efficiency_20(bars: OwnBars) -> FloatArray:
    return ratio(bars.close - lag(bars.close, 20), total(np.abs(bars.change), 20), empty=0.0)


FORMULAS: dict[str, Formula] = {
    "adx_14": _adx_14,
    "di_balance_14": _di_balance_14,
    "aroon_25": _aroon_25,
    "ema_gap_10": _ema_gap_10,
    "ema_gap_26": _ema_gap_26,
    "sma_gap_50": _sma_gap_50,
    "slope_20": _slope_20,
    "trend_fit_20": _trend_fit_20,
    "channel_55": lambda bars: bars.position_in_range(55),
    "efficiency_20": _efficiency_20,
}
