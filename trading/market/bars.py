"""Bars of several symbols on one timeline: what the market tables hand to the pipeline. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
TimeArray = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars of several symbols on one common timeline.

    `ts` is (n_bars,) datetime64[us], strictly increasing UTC closes; the five fields are
    (n_bars, n_symbols) and NaN where a symbol has no bar at that time.
    """

    timeframe: str
    symbols: tuple[str, ...]
    ts: TimeArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def __post_init__(self) -> None:
        expected = (len(self.ts), len(self.symbols))
        for name in ("open", "high", "low", "close", "volume"):
            shape = getattr(self, name).shape
            if shape != expected:
                raise ValueError(f"{name} must be (n_bars, n_symbols) = {expected}, was {shape}")

    @property
    def n_bars(self) -> int:
        return len(self.ts)

    @property
    def n_symbols(self) -> int:
        return len(self.symbols)

    def rows(self, part: slice) -> Bars:
        """The same symbols over a part of the timeline."""
        return Bars(
            timeframe=self.timeframe,
            symbols=self.symbols,
            ts=self.ts[part],
            open=self.open[part],
            high=self.high[part],
            low=self.low[part],
            close=self.close[part],
            volume=self.volume[part],
        )
