"""How much the price moves."""

from __future__ import annotations

import numpy as np

from tiers.contracts import FloatArray
from tiers.features.own_bars import Formula, OwnBars
from tiers.features.rolling import balance, mean, ratio, total, variance


def _atr_14(bars: OwnBars) -> FloatArray:
    return bars.average_range / bars.close


def _volatility_ratio_10_60(bars: OwnBars) -> FloatArray:
    return balance(np.sqrt(variance(bars.log_return, 10)), np.sqrt(bars.moments_60[2]))


def _parkinson_20(bars: OwnBars) -> FloatArray:
    spread = np.log(bars.high / bars.low)
    deviation: FloatArray = np.sqrt(mean(spread * spread, 20) / (4.0 * np.log(2.0)))
    return deviation


def _garman_klass_20(bars: OwnBars) -> FloatArray:
    spread, body = np.log(bars.high / bars.low), np.log(bars.close / bars.open)
    estimate = mean(0.5 * spread * spread - (2.0 * np.log(2.0) - 1.0) * body * body, 20)
    return np.sqrt(np.maximum(estimate, 0.0))


def _bollinger_z_20(bars: OwnBars) -> FloatArray:
    distance, deviation, _ = bars.level_20
    return ratio(distance, deviation, empty=0.0)


def _squeeze_20(bars: OwnBars) -> FloatArray:
    return bars.level_20[1] / bars.average_range


def _true_range_ratio(bars: OwnBars) -> FloatArray:
    return bars.true_range / bars.average_range


def _downside_share_20(bars: OwnBars) -> FloatArray:
    square = bars.log_return * bars.log_return
    down = np.where(bars.log_return < 0, square, 0.0 * square)  # NaN stays NaN
    return ratio(total(down, 20), total(square, 20), empty=0.5)


FORMULAS: dict[str, Formula] = {
    "atr_14": _atr_14,
    "volatility_20": lambda bars: bars.deviation_20,
    "volatility_ratio_10_60": _volatility_ratio_10_60,
    "parkinson_20": _parkinson_20,
    "garman_klass_20": _garman_klass_20,
    "bollinger_z_20": _bollinger_z_20,
    "squeeze_20": _squeeze_20,
    "true_range_ratio": _true_range_ratio,
    "downside_share_20": _downside_share_20,
}
