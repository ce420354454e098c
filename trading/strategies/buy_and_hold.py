"""Buy everything once, in equal parts, and keep it: what every other strategy has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trading.strategies.base import FloatArray


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Each symbol gets 1 / n_symbols of the equity at its first bar, and is never traded again."""

    name: str = "buy_and_hold"
    warmup_bars: int = 0

    @property
    def params(self) -> dict[str, float]:
        return {}

    def weights(self, close: FloatArray, *, start_row: int = 0) -> FloatArray:
        """1 / n_symbols in the first row from `start_row` on where a symbol has a close, else NaN."""
        wanted = np.full(close.shape, np.nan)
        known = np.isfinite(close[start_row:])
        for symbol in np.flatnonzero(known.any(axis=0)):
            wanted[start_row + int(known[:, symbol].argmax()), symbol] = 1.0 / close.shape[1]
        return wanted
