"""What a strategy is: closing prices in, wanted weights out, nothing remembered."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from helios.errors import Rejected

FloatArray = npt.NDArray[np.float64]


class StrategyError(Rejected):
    """A parameter outside its bounds, named with what it may be."""


class Strategy(Protocol):
    """A pure function from prices to weights, with its name and its parameters.

    Rows follow the bars, columns the symbols. A weight is a fraction of the equity at that bar's close and is
    filled no earlier than at the next bar's open; NaN means: leave this symbol as it is. Row t may use rows
    up to t only.
    """

    @property
    def name(self) -> str: ...

    @property
    def params(self) -> dict[str, float]:
        """The parameters by name, for the report."""
        ...

    @property
    def warmup_bars(self) -> int:
        """Own bars a symbol needs before its first signal."""
        ...

    def weights(self, close: FloatArray, *, start_row: int = 0) -> FloatArray:
        """Wanted weights, (n_bars, n_symbols), for closes of that shape (NaN where a symbol has no bar).

        Rows before `start_row` only warm up: their weights are NaN.
        """
        ...
