"""Trend following by two moving averages of the close: hold while the fast one is above the slow one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trading.market.bars import TIE
from trading.strategies.base import FloatArray, StrategyError


@dataclass(frozen=True, slots=True)
class SmaCross:
    """Long 1 / n_symbols while the fast average is above the slow one, flat otherwise.

    It asks for a trade where the state changes, not at every bar: a held position drifts with its price.
    Windows count a symbol's own bars. Raises `StrategyError` unless 1 <= fast < slow.
    """

    fast: int = 20
    slow: int = 50
    name: str = "sma_cross"

    def __post_init__(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise StrategyError(f"sma_cross needs 1 <= fast < slow, was fast={self.fast}, slow={self.slow}")

    @property
    def params(self) -> dict[str, float]:
        return {"fast": self.fast, "slow": self.slow}

    @property
    def warmup_bars(self) -> int:
        return self.slow

    def weights(self, close: FloatArray, *, start_row: int = 0) -> FloatArray:
        """1 / n_symbols or 0 in the rows where the state changes, NaN elsewhere; see `Strategy`."""
        wanted = np.full(close.shape, np.nan)
        for symbol in range(close.shape[1]):
            own = np.flatnonzero(np.isfinite(close[:, symbol]))
            if len(own) < self.slow:
                continue
            prices = close[own, symbol]
            long = rolling_mean(prices, self.fast) - rolling_mean(prices, self.slow) > TIE * prices
            begin = max(self.slow - 1, int(np.searchsorted(own, start_row)))
            state = long[begin:]
            changed = np.flatnonzero(np.diff(state, prepend=False))  # flat before the first row that counts
            wanted[own[begin:][changed], symbol] = state[changed] / close.shape[1]
        return wanted


def rolling_mean(values: FloatArray, window: int) -> FloatArray:
    """Mean of the last `window` of (n,) values, NaN before there are so many.

    Every window is summed by itself in the order of time, not by difference of running sums: a mean is the
    same number whatever came before its window, so live equals batch.
    """
    means = np.full(len(values), np.nan)
    n_means = len(values) - window + 1
    if n_means > 0:
        total = np.zeros(n_means)
        for offset in range(window):
            total += values[offset : offset + n_means]
        means[window - 1 :] = total / window
    return means
