"""The distribution and the memory of the last returns."""

from __future__ import annotations

import numpy as np
import talib

from tiers.contracts import FloatArray
from tiers.features.own import Formula, OwnBars
from tiers.features.windows import lag, mean, ratio, variance


def skew_60(bars: OwnBars) -> FloatArray:
    value, spread = bars.log_return, variance(bars.log_return, 60)
    first, second, third = mean(value, 60), mean(value**2, 60), mean(value * value * value, 60)
    moment = third - 3.0 * first * second + 2.0 * first * first * first
    return ratio(moment, spread * np.sqrt(spread))


def kurtosis_60(bars: OwnBars) -> FloatArray:
    value, spread = bars.log_return, variance(bars.log_return, 60)
    square, first = value * value, mean(value, 60)
    second, third, fourth = mean(square, 60), mean(square * value, 60), mean(square * square, 60)
    moment = fourth - 4.0 * first * third + 6.0 * first * first * second - 3.0 * first * first * first * first
    return np.log(ratio(moment, spread * spread) / 3.0)


def autocorrelation_60(bars: OwnBars) -> FloatArray:
    value, before = bars.log_return, lag(bars.log_return, 1)
    shared = mean(value * before, 60) - mean(value, 60) * mean(before, 60)
    return np.clip(ratio(shared, np.sqrt(variance(value, 60) * variance(before, 60))), -1.0, 1.0)


def variance_ratio_5_60(bars: OwnBars) -> FloatArray:
    five = np.log(bars.close / lag(bars.close, 5))
    return balance_of_variances(five, bars.log_return, 5)


def balance_of_variances(long: FloatArray, short: FloatArray, n: int) -> FloatArray:
    """(a - b) / (a + b) of the variance over 60 bars per bar of `n`-bar and of one-bar returns; NaN without any."""
    per_bar, single = variance(long, 60) / n, variance(short, 60)
    return ratio(per_bar - single, per_bar + single)


def up_share_20(bars: OwnBars) -> FloatArray:
    return mean(np.sign(bars.change), 20)


def drawdown_60(bars: OwnBars) -> FloatArray:
    peak = bars.each(lambda close: talib.MAX(close, 60), bars.close)
    return ratio(np.log(bars.close / peak), bars.deviation_20)


FORMULAS: dict[str, Formula] = {
    "skew_60": skew_60,
    "kurtosis_60": kurtosis_60,
    "autocorrelation_60": autocorrelation_60,
    "variance_ratio_5_60": variance_ratio_5_60,
    "up_share_20": up_share_20,
    "drawdown_60": drawdown_60,
}
