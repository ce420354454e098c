"""The distribution and the memory of the last returns."""

from __future__ import annotations

import numpy as np
import talib

from tiers.contracts import FloatArray
from tiers.features.own_bars import Formula, OwnBars
from tiers.features.rolling import ROUNDING, lag, mean, ratio

# Third and fourth moments come from power sums: with less variance than this share of the mean square (returns
# that are 1000 times steadier than they are large) what is left of them after cancelling is rounding.
_TOO_STEADY = 1e-6


def _visible(spread: FloatArray, second: FloatArray) -> FloatArray:
    """The variance, NaN where it is too small beside the mean square to carry higher moments."""
    return np.where(spread > _TOO_STEADY * second, spread, np.nan)


def _skew_60(bars: OwnBars) -> FloatArray:
    value, (first, second, spread) = bars.log_return, bars.moments_60
    third = mean(value * value * value, 60)
    moment = third - 3.0 * first * second + 2.0 * first * first * first
    visible = _visible(spread, second)
    return ratio(moment, visible * np.sqrt(visible))


def _kurtosis_60(bars: OwnBars) -> FloatArray:
    value, (first, second, spread) = bars.log_return, bars.moments_60
    square = value * value
    third, fourth = mean(square * value, 60), mean(square * square, 60)
    centre = first * first
    moment = fourth - 4.0 * first * third + 6.0 * centre * second - 3.0 * centre * centre
    visible = _visible(spread, second)
    return np.log(ratio(moment, 3.0 * visible * visible))


def _autocorrelation_60(bars: OwnBars) -> FloatArray:
    value, (first, _, spread) = bars.log_return, bars.moments_60
    shared = mean(value * lag(value, 1), 60) - first * lag(first, 1)
    return np.clip(ratio(shared, np.sqrt(spread * lag(spread, 1))), -1.0, 1.0)


def _variance_ratio_5_60(bars: OwnBars) -> FloatArray:
    moved, n_moves = np.log(bars.close / lag(bars.close, 5)), 60 - 5 + 1
    (first, _, spread), square = bars.moments_60, mean(moved * moved, n_moves)
    around = square - 10.0 * first * mean(moved, n_moves) + 25.0 * first * first  # moves about five mean returns
    around[around <= ROUNDING * square] = 0.0
    per_bar, single = around / (5.0 * (1.0 - 5.0 / 60.0)), spread * (60.0 / 59.0)
    return ratio(per_bar - single, per_bar + single)


def _up_share_20(bars: OwnBars) -> FloatArray:
    return mean(np.sign(bars.change), 20)


def _drawdown_60(bars: OwnBars) -> FloatArray:
    peak = bars.each(talib.MAX, bars.close, periods=(60,))
    return ratio(np.log(bars.close / peak), bars.deviation_20)


FORMULAS: dict[str, Formula] = {
    "skew_60": _skew_60,
    "kurtosis_60": _kurtosis_60,
    "autocorrelation_60": _autocorrelation_60,
    "variance_ratio_5_60": _variance_ratio_5_60,
    "up_share_20": _up_share_20,
    "drawdown_60": _drawdown_60,
}
