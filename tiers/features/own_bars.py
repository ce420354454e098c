"""Some symbols' own bars, and the intermediates that several features share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from inspect import unwrap
from typing import Any

import numpy as np
import talib

from tiers.contracts import BoolArray, FloatArray, TimeArray
from tiers.features import rolling
from tiers.features.directional import directional

Formula = Callable[["OwnBars"], FloatArray]


class OwnBars:
    """Bars of symbols that all have a bar at every one of `ts`: five arrays (n_symbols, n_bars), time last.

    Volume may hold NaN (unknown); the four prices are finite and positive.
    """

    def __init__(
        self,
        *,
        ts: TimeArray,
        open: FloatArray,  # noqa: A002 - the name every trader expects
        high: FloatArray,
        low: FloatArray,
        close: FloatArray,
        volume: FloatArray,
    ) -> None:
        self.ts = ts
        self.open, self.high, self.low, self.close, self.volume = open, high, low, close, volume

    def each(self, indicator: Callable[..., Any], *inputs: FloatArray, periods: tuple[int, ...] = ()) -> FloatArray:
        """A TA-Lib function for one symbol after the other: (n_symbols, n_bars); of several outputs the last.

        What TA-Lib puts around its functions for the data frames of other libraries takes longer than a short window.
        """
        plain = unwrap(indicator)
        out = np.empty(self.close.shape)
        for row, values in enumerate(zip(*inputs, strict=True)):
            answer = plain(*values, *periods)
            out[row] = answer[-1] if isinstance(answer, tuple) else answer
        return out

    @cached_property
    def previous_close(self) -> FloatArray:
        return rolling.lag(self.close, 1)

    @cached_property
    def change(self) -> FloatArray:
        """Close - previous close, price units."""
        return self.close - self.previous_close

    @cached_property
    def log_return(self) -> FloatArray:
        """ln(close / previous close); exactly zero where the price stood still."""
        return np.log(self.close / self.previous_close)

    @cached_property
    def bar_range(self) -> FloatArray:
        """High - low, price units."""
        return self.high - self.low

    @cached_property
    def true_range(self) -> FloatArray:
        """Wilder's true range, price units; NaN in the first row."""
        return self.each(talib.TRANGE, self.high, self.low, self.close)

    @cached_property
    def average_range(self) -> FloatArray:
        """Mean true range of the last 14 bars, price units; NaN where all 14 stood still.

        A plain mean, not Wilder's recursion: as a divisor it must be exactly zero when nothing moved.
        """
        average = rolling.mean(self.true_range, 14)
        average[average == 0] = np.nan
        return average

    @cached_property
    def deviation_20(self) -> FloatArray:
        """Standard deviation of the last 20 log returns; NaN where there was no variation."""
        variance = rolling.variance(self.log_return, 20)
        variance[variance == 0] = np.nan
        return np.sqrt(variance)

    @cached_property
    def moments_60(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean, mean square and variance of the last 60 log returns."""
        first = rolling.mean(self.log_return, 60)
        second = rolling.mean(self.log_return * self.log_return, 60)
        return first, second, rolling.spread(first, second)

    @cached_property
    def level_20(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Distance of the close from its mean over 20 bars, its deviation and its slope, price units.

        Not TA-Lib's STDDEV and LINEARREG_SLOPE: their running sums drift by 1e-8 over 100,000 bars.
        """
        return rolling.level_line(self.close, 20)

    @cached_property
    def stochastic_14(self) -> FloatArray:
        """Position of the close in the range of 14 bars, -1 (low) to 1 (high); 0 in a zero range."""
        return self.position_in_range(14)

    @cached_property
    def macd(self) -> FloatArray:
        """EMA(12) - EMA(26) of the close, price units."""
        return self.ema(12) - self.ema_26

    @cached_property
    def ema_26(self) -> FloatArray:
        """The longest exponential average in use: a longer one would need a longer live window."""
        return self.ema(26)

    @cached_property
    def directional(self) -> tuple[FloatArray, FloatArray]:
        """+DI less -DI and ADX, both over 14 bars and by 100."""
        return directional(self.high, self.low, self.close, 14)

    @cached_property
    def still_14(self) -> BoolArray:
        """Where neither high, low nor close moved over the last 14 bars."""
        still: BoolArray = rolling.total(self.true_range, 14) == 0
        return still

    def ema(self, n: int) -> FloatArray:
        """Exponential average of the close, seeded with the mean of its first `n` bars."""
        return self.each(talib.EMA, self.close, periods=(n,))

    def position_in_range(self, n: int) -> FloatArray:
        """Position of the close between lowest low and highest high of `n` bars, -1 to 1; 0 when equal."""
        top = self.each(talib.MAX, self.high, periods=(n,))
        bottom = self.each(talib.MIN, self.low, periods=(n,))
        return rolling.ratio(2.0 * self.close - top - bottom, top - bottom, empty=0.0)
