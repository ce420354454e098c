"""Bars of several instruments on one timeline, bars of one as they came, and the way between. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trading.market.actions import Action

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
TimeArray = npt.NDArray[np.datetime64]

FIELDS = ("open", "high", "low", "close", "volume")
PRICES = FIELDS[:4]
BarValues = tuple[float, float, float, float, float]  # of one bar, as FIELDS names them
# Prices, and means of them, that differ by less than this share of themselves are equal: no market's tick is so small,
# and what is left of ticks that are added and taken away in binary is smaller yet.
TIE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars of several symbols on one common timeline.

    `ts` is (n_bars,) datetime64[us], strictly increasing UTC closes; the five fields are
    (n_bars, n_symbols) and NaN where a symbol has no bar at that time. `actions` are all of these symbols, by time,
    that `adjust.adjusted` needs; none of what is adjusted already, and of what nobody asked that question.
    """

    timeframe: str
    symbols: tuple[str, ...]
    ts: TimeArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    actions: tuple[Action, ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.ts), len(self.symbols))
        for name in FIELDS:
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
        return replace(self, ts=self.ts[part], **{name: getattr(self, name)[part] for name in FIELDS})


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
    row: IntArray

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
        return replace(self, **{name: getattr(self, name)[rows] for name in ("ts", *FIELDS, "row")})


def distinct(times: TimeArray) -> TimeArray:
    """Each of (n,) times once, ascending; none may be NaT.

    `np.unique` hashes, and whole minutes in microseconds collide there: a million take it .9 s, and this 5 ms.
    """
    ordered = np.sort(times, kind="stable")
    first = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def bar_table(
    symbol: str,
    timeframe: str,
    ts: TimeArray,
    fields: Sequence[FloatArray],
    row: IntArray | None = None,
) -> BarTable:
    """A table from a timeline and the five fields in the order open, high, low, close, volume."""
    number = np.arange(1, len(ts) + 1) if row is None else row
    values = dict(zip(FIELDS, (np.asarray(field, np.float64) for field in fields), strict=True))
    return BarTable(symbol=symbol, timeframe=timeframe, ts=ts.astype("datetime64[us]"), row=number, **values)


def concatenated(tables: Sequence[BarTable]) -> BarTable:
    """The rows of several tables of one timeframe, one table behind the other, under the symbol of the first."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in tables]) for name in ("ts", *FIELDS, "row")
    }
    return replace(tables[0], **columns)


def union(tables: Sequence[BarTable], timeframe: str) -> Bars:
    """Tables of several symbols on their union timeline, NaN where a symbol has no bar.

    Each table must be clean (strictly increasing `ts`); the order of symbols is the order of the tables.
    """
    times = np.concatenate([np.empty(0, "datetime64[us]"), *(one.ts for one in tables)])
    fields = {name: np.concatenate([np.empty(0), *(getattr(one, name) for one in tables)]) for name in FIELDS}
    return gridded(tuple(one.symbol for one in tables), timeframe, times, columns_of(tables), fields)


def columns_of(tables: Sequence[BarTable]) -> npt.NDArray[np.intp]:
    """Of each row of `concatenated` tables the number of its table."""
    return np.repeat(np.arange(len(tables)), np.array([one.n_rows for one in tables], np.intp))


def gridded(
    symbols: tuple[str, ...], timeframe: str, times: TimeArray, column: npt.NDArray[np.intp], fields: Mapping[str, Any]
) -> Bars:
    """Rows on their union timeline, NaN where a symbol has none: row k is a bar of `symbols[column[k]]`."""
    ts = distinct(times)
    at = (np.searchsorted(ts, times), column)
    grid: dict[str, Any] = {name: np.full((len(ts), len(symbols)), np.nan) for name in FIELDS}
    for name in FIELDS:
        grid[name][at] = fields[name]
    return Bars(timeframe=timeframe, symbols=symbols, ts=ts, **grid)


def split(bars: Bars) -> tuple[BarTable, ...]:
    """One table a symbol, holding only the bars that the symbol has: the way back from `union`."""
    out = []
    for column, symbol in enumerate(bars.symbols):
        own = np.flatnonzero(~np.isnan(bars.close[:, column]))
        fields = [getattr(bars, name)[own, column] for name in FIELDS]
        out.append(bar_table(symbol, bars.timeframe, bars.ts[own], fields))
    return tuple(out)


def joined(before: Bars, after: Bars) -> Bars:
    """Two stretches of the same symbols, one behind the other; of actions the later one has all."""
    fields: dict[str, Any] = {name: np.concatenate([getattr(before, name), getattr(after, name)]) for name in FIELDS}
    return replace(after, ts=np.concatenate([before.ts, after.ts]), **fields)
