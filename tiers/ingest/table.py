"""The bars of one symbol as columns, and the way between such tables and `Bars`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiers.contracts import Bars, FloatArray, TimeArray

FIELDS = ("open", "high", "low", "close", "volume")
PRICES = FIELDS[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarTable:
    """Bars of one symbol in the order in which they came; nothing is promised about them before `validate`.

    `ts` is (n_rows,) datetime64[us], UTC closes; the five fields are (n_rows,) float64. `row` is (n_rows,)
    and says where each bar stood in its source, for messages.
    """

    symbol: str
    timeframe: str
    ts: TimeArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    row: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in (*FIELDS, "row"):
            shape = getattr(self, name).shape
            if shape != self.ts.shape:
                raise ValueError(f"{name} must be (n_rows,) = {self.ts.shape}, was {shape}")

    @property
    def n_rows(self) -> int:
        return len(self.ts)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> BarTable:
        """The rows of a mask, an index array or a slice."""
        return BarTable(
            symbol=self.symbol,
            timeframe=self.timeframe,
            ts=self.ts[rows],
            row=self.row[rows],
            **{name: getattr(self, name)[rows] for name in FIELDS},
        )


def table(
    symbol: str,
    timeframe: str,
    ts: TimeArray,
    fields: Sequence[FloatArray],
    row: npt.NDArray[np.int64] | None = None,
) -> BarTable:
    """A table from a timeline and the five fields in the order open, high, low, close, volume."""
    number = np.arange(1, len(ts) + 1) if row is None else row
    values = dict(zip(FIELDS, (np.asarray(field, np.float64) for field in fields), strict=True))
    return BarTable(symbol=symbol, timeframe=timeframe, ts=ts.astype("datetime64[us]"), row=number, **values)


def union(tables: Sequence[BarTable], timeframe: str) -> Bars:
    """Tables of several symbols on their union timeline, NaN where a symbol has no bar.

    Each table must be clean (strictly increasing `ts`); the order of symbols is the order of the tables.
    """
    stamps = [one.ts for one in tables]
    ts = np.unique(np.concatenate(stamps)) if stamps else np.empty(0, "datetime64[us]")
    grid = {name: np.full((len(ts), len(tables)), np.nan) for name in FIELDS}
    for column, one in enumerate(tables):
        rows = np.searchsorted(ts, one.ts)
        for name in FIELDS:
            grid[name][rows, column] = getattr(one, name)
    return Bars(timeframe=timeframe, symbols=tuple(one.symbol for one in tables), ts=ts, **grid)


def split(bars: Bars) -> tuple[BarTable, ...]:
    """One table a symbol, holding only the bars that the symbol has: the way back from `union`."""
    out = []
    for column, symbol in enumerate(bars.symbols):
        own = np.flatnonzero(~np.isnan(bars.close[:, column]))
        fields = [getattr(bars, name)[own, column] for name in FIELDS]
        out.append(table(symbol, bars.timeframe, bars.ts[own], fields))
    return tuple(out)
