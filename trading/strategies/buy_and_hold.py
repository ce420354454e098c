"""Buy everything once, in equal parts, and keep it: what every other strategy has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trading.strategies.base import FloatArray


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Each symbol gets 1 / n_symbols of the money at the start, at its first bar, and is never traded again.

    What is meant for one that has no bar yet is cash until then, whatever became of the others.
    """

    name: str = "buy_and_hold"
    warmup_bars: int = 0

    @property
    def params(self) -> dict[str, float]:
        return {}

    def weights(self, close: FloatArray, *, start_row: int = 0) -> FloatArray:
        """In the first row from `start_row` on where a symbol has a close: its part of what all are worth; else NaN."""
        own, columns = close[start_row:], np.arange(close.shape[1])
        known = np.isfinite(own)
        last = np.maximum.accumulate(np.where(known, np.arange(len(own))[:, None], 0), axis=0)
        first = known.argmax(axis=0)
        growth = own[last, columns] / own[first, columns]
        worth = np.where(np.isnan(growth), 1.0, growth).mean(axis=1)
        wanted = np.full(close.shape, np.nan)
        begun = known.any(axis=0)
        wanted[start_row + first[begun], columns[begun]] = 1.0 / len(columns) / worth[first[begun]]
        return wanted
