"""The shape of the last bars.

Geometry, not TA-Lib's named patterns: those compare with running averages, and a comparison that rounding can
tip makes a live window disagree with a backtest by a whole unit.
"""

from __future__ import annotations

import numpy as np

from tiers.contracts import FloatArray
from tiers.features.own_bars import Formula, OwnBars
from tiers.features.rolling import lag, ratio

STREAK_BARS = 8


def _body_share(bars: OwnBars) -> FloatArray:
    return ratio(bars.close - bars.open, bars.bar_range, empty=0.0)


def _upper_shadow(bars: OwnBars) -> FloatArray:
    return ratio(bars.high - np.maximum(bars.open, bars.close), bars.bar_range, empty=0.0)


def _lower_shadow(bars: OwnBars) -> FloatArray:
    return ratio(np.minimum(bars.open, bars.close) - bars.low, bars.bar_range, empty=0.0)


def _gap(bars: OwnBars) -> FloatArray:
    return (bars.open - bars.previous_close) / bars.average_range


def _streak_8(bars: OwnBars) -> FloatArray:
    direction = np.sign(bars.change)
    running, length = np.ones(direction.shape), np.zeros(direction.shape)
    for back in range(STREAK_BARS):
        running *= lag(direction, back) == direction
        length += running
    known = ~np.isnan(lag(direction, STREAK_BARS - 1))
    return np.where(known, direction * length / STREAK_BARS, np.nan)


FORMULAS: dict[str, Formula] = {
    "body_share": _body_share,
    "upper_shadow": _upper_shadow,
    "lower_shadow": _lower_shadow,
    "gap": _gap,
    "streak_8": _streak_8,
}
