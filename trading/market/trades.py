"""Public trades of one instrument, as they came. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trading.market.bars import BoolArray, FloatArray, IntArray, TimeArray

COLUMNS: Final = ("ts", "price", "quantity", "trade_id", "side", "row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trades:
    """Trades of one symbol in the order in which they came; nothing is promised about them before they are judged.

    `ts` is (n_trades,) datetime64[us] in UTC, `price` and `quantity` are (n_trades,) float64. `trade_id` and
    `side`, that of who took the offer, are (n_trades,) text, empty where the source tells none; `row` says where each
    stood in its source, for messages.
    """

    symbol: str
    ts: TimeArray
    price: FloatArray
    quantity: FloatArray
    trade_id: npt.NDArray[np.str_]
    side: npt.NDArray[np.str_]
    row: IntArray

    def __post_init__(self) -> None:
        for name in COLUMNS:
            shape = getattr(self, name).shape
            if shape != self.ts.shape:
                raise ValueError(f"{name} must be (n_trades,) = {self.ts.shape}, was {shape}")

    @property
    def n_trades(self) -> int:
        return len(self.ts)

    def take(self, rows: BoolArray | npt.NDArray[np.intp]) -> Trades:
        """The trades of a mask or an index array."""
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})


def concatenated(tables: Sequence[Trades]) -> Trades:
    """Tables of one symbol as one, their rows counted through."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(table, name) for table in tables]) for name in COLUMNS}
    return Trades(symbol=tables[0].symbol, **columns | {"row": np.arange(1, len(columns["ts"]) + 1)})
