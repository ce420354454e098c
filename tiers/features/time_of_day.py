"""When the bar closed, in UTC, on circles: 23:59 lies next to 00:00 and Sunday next to Monday."""

from __future__ import annotations

import numpy as np

from tiers.contracts import FloatArray
from tiers.features.own_bars import Formula, OwnBars

_DAY_US = 86_400_000_000
_WEEK_US = 7 * _DAY_US
_EPOCH_IS_THURSDAY_US = 3 * _DAY_US  # shifts the week's start to Monday 00:00 UTC


def _circle(bars: OwnBars, wave: np.ufunc, period_us: int, shift_us: int = 0) -> FloatArray:
    since = bars.ts.astype("datetime64[us]").astype(np.int64) + shift_us
    around: FloatArray = wave(2.0 * np.pi * (since % period_us) / period_us)
    return np.broadcast_to(around, bars.close.shape)


FORMULAS: dict[str, Formula] = {
    "day_sin": lambda bars: _circle(bars, np.sin, _DAY_US),
    "day_cos": lambda bars: _circle(bars, np.cos, _DAY_US),
    "week_sin": lambda bars: _circle(bars, np.sin, _WEEK_US, _EPOCH_IS_THURSDAY_US),
    "week_cos": lambda bars: _circle(bars, np.cos, _WEEK_US, _EPOCH_IS_THURSDAY_US),
}
