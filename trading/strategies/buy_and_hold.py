"""Buy everything once, in equal parts, and keep it: what every other strategy has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trading.strategies.base import FloatArray


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Each symbol gets 1 / n_symbols at its first bar, and is never traded again.

    A backtest takes that of the money at the start: what is meant for a symbol that has no bar yet is cash until then,
    whatever became of the others.
    """

    name: str = "buy_and_hold"
    warmup_bars: int = 0

    @property
    def params(self) -> dict[str, float]:
        return {}

    def weights(self, close: FloatArray, *, start_row: int = 0) -> FloatArray:
        """The part of each symbol in the first row from `start_row` on where it has a close; else NaN."""
        known = np.isfinite(close[start_row:])
        begun = np.flatnonzero(known.any(axis=0))
        wanted = np.full(close.shape, np.nan)
        wanted[start_row + known.argmax(axis=0)[begun], begun] = 1.0 / close.shape[1]
        return wanted
