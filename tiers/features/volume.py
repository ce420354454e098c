"""How much was traded, and on which side: windowed sums, since a cumulative level has no finite memory."""

from __future__ import annotations

import numpy as np

from tiers.contracts import FloatArray
from tiers.features.own_bars import Formula, OwnBars
from tiers.features.rolling import balance, direction, lag, mean, ratio, total


def _relative_volume_20(bars: OwnBars) -> FloatArray:
    return balance(bars.volume, mean(bars.volume, 20))


def _volume_trend_5_20(bars: OwnBars) -> FloatArray:
    return balance(mean(bars.volume, 5), mean(bars.volume, 20))


def _mfi_14(bars: OwnBars) -> FloatArray:
    typical = (bars.high + bars.low + bars.close) / 3.0
    flow = typical * bars.volume
    signed = direction(typical - lag(typical, 1), typical) * flow
    return ratio(total(signed, 14), total(np.abs(signed), 14), empty=0.0)


def _signed_volume_20(bars: OwnBars) -> FloatArray:
    return ratio(total(np.sign(bars.change) * bars.volume, 20), total(bars.volume, 20), empty=0.0)


def _money_flow_20(bars: OwnBars) -> FloatArray:
    location = ratio(2.0 * bars.close - bars.high - bars.low, bars.bar_range, empty=0.0)
    return ratio(total(location * bars.volume, 20), total(bars.volume, 20), empty=0.0)


def _vwap_gap_20(bars: OwnBars) -> FloatArray:
    typical = (bars.high + bars.low + bars.close) / 3.0
    average = ratio(total(typical * bars.volume, 20), total(bars.volume, 20))
    return (bars.close - average) / bars.average_range


def _illiquidity_5_20(bars: OwnBars) -> FloatArray:
    moved, traded = np.abs(bars.log_return), bars.close * bars.volume
    short = ratio(total(moved, 5), total(traded, 5))
    return balance(short, ratio(total(moved, 20), total(traded, 20)))


FORMULAS: dict[str, Formula] = {
    "relative_volume_20": _relative_volume_20,
    "volume_trend_5_20": _volume_trend_5_20,
    "mfi_14": _mfi_14,
    "signed_volume_20": _signed_volume_20,
    "money_flow_20": _money_flow_20,
    "vwap_gap_20": _vwap_gap_20,
    "illiquidity_5_20": _illiquidity_5_20,
}
