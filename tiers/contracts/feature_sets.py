"""What a features module makes: the columns of its rows, and the bars that it makes them of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tiers.contracts.errors import DataError
from tiers.contracts.messages import Bars, BarsByTimeframe, IntArray, TimeArray
from trading.market.timeframes import seconds

ABSENT = "absent_features"  # of a model's `params`: names of those that no symbol of its training had


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """A set of features: rows of one never serve a model of another.

    `name` and `version` say which formulas these are; whoever changes what a column means raises `version`. A row at a
    bar depends on the last `window_bars` own bars of each timeframe; after `warmup_bars` whole ones of the first, none
    of its values is missing. `timeframes` begins with the one that is decided on, the others are longer. `DataError`
    where that does not hold.
    """

    name: str
    version: str
    columns: tuple[str, ...]
    window_bars: int
    timeframes: tuple[str, ...]
    warmup_bars: int = 0

    def __post_init__(self) -> None:
        lengths = [seconds(each) for each in self.timeframes]
        if not lengths or sorted(set(lengths)) != lengths:
            raise DataError(f"the timeframes of a feature set must ascend, were {', '.join(self.timeframes) or 'none'}")
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise DataError(f"the columns of feature set {self} must be named once each, were {len(self.columns)}")
        if self.window_bars < 1:
            raise DataError(f"window_bars of feature set {self} must be at least 1, was {self.window_bars}")

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def lookback(self) -> dict[str, int]:
        """Own bars of each timeframe behind one row."""
        return dict.fromkeys(self.timeframes, self.window_bars)


def shortest(bars: BarsByTimeframe) -> Bars:
    """The bars that are decided on: those of the shortest timeframe. `DataError` where there are none."""
    if not bars:
        raise DataError("bars must be given for one timeframe at least, were given for none")
    return bars[min(bars, key=seconds)]


def closed_rows(ts: TimeArray, longer: TimeArray) -> IntArray:
    """(n_bars,) at each close of `ts` the row of the last bar of `longer` that had closed; -1 where none had."""
    return np.searchsorted(longer, ts, side="right").astype(np.int64) - 1


def until(bars: BarsByTimeframe, last: np.datetime64) -> dict[str, Bars]:
    """What had closed at `last`, of every timeframe."""
    return {name: each.rows(slice(0, int(np.searchsorted(each.ts, last, side="right")))) for name, each in bars.items()}


def joined_lookbacks(*lookbacks: Mapping[str, int]) -> dict[str, int]:
    """Own bars of each timeframe that serve every one of them, shortest timeframe first."""
    wanted: dict[str, int] = {}
    for each in lookbacks:
        for timeframe, n_bars in each.items():
            wanted[timeframe] = max(n_bars, wanted.get(timeframe, 0))
    return {timeframe: wanted[timeframe] for timeframe in sorted(wanted, key=seconds)}
