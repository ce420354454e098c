"""Nights over which a price changed as in a split: those of which no action is stored. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Final

import numpy as np

from tiers.contracts import FIELDS, Bars, BarTable, adjusted, bar_table, split

# Shares for one, as they are usual; a reverse split has them the other way round.
SPLITS: Final = np.array([1.5, *range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100])
SPLIT_DRIFT: Final = 0.03  # Apple opened 2 % above a quarter of its last close when it split in 2020
ONE_DAY, ONE_WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")
EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The open of a day beside the close before; `shares` are the new ones for `per` old ones that explain it."""

    day: str
    ratio: float
    shares: float
    per: float

    def __str__(self) -> str:
        split = f"{self.shares:g} for {self.per:g}"
        return f"{self.day} opens at {self.ratio:.4g} of the close before, which looks like a split of {split}"


def jumps(bars: BarTable) -> list[Jump]:
    """The nights of one symbol that look like a split; of adjusted bars, those without an action."""
    opened = (bars.ts - np.timedelta64(1, "us")).astype("datetime64[D]")
    ratio = bars.open[1:] / bars.close[:-1]
    times = np.maximum(ratio, 1 / ratio)
    nights = (np.diff(opened) >= ONE_DAY) & (np.diff(bars.ts) <= ONE_WEEK)
    large = np.flatnonzero(nights & (times > SPLITS[0] / (1 + SPLIT_DRIFT)))
    usual = SPLITS[np.abs(times[large, None] / SPLITS - 1).argmin(axis=1)]
    alike = np.abs(times[large] / usual - 1) <= SPLIT_DRIFT
    return [
        Jump(
            day=str(opened[row + 1]),
            ratio=float(ratio[row]),
            shares=float(shares) if ratio[row] < 1 else 1.0,
            per=1.0 if ratio[row] < 1 else float(shares),
        )
        for row, shares in zip(large[alike].tolist(), usual[alike].tolist(), strict=True)
    ]


def newest(bars: Bars) -> list[str]:
    """A sentence for each symbol whose bar at the last row jumps as in a split from its bar before."""
    sentences = []
    for column, symbol in enumerate(bars.symbols):
        own = np.flatnonzero(~np.isnan(bars.close[:, column]))[-2:]
        if len(own) == 2 and own[1] == bars.n_bars - 1:
            fields = [getattr(bars, name)[own, column] for name in FIELDS]
            sentences += [f"{symbol} {each}" for each in jumps(bar_table(symbol, bars.timeframe, bars.ts[own], fields))]
    return sentences


def listed(found: Sequence[Jump]) -> list[str]:
    """The first of them in words, and how many more there are."""
    more = [f"{len(found) - EXAMPLES} more"] if len(found) > EXAMPLES else []
    return [*map(str, found[:EXAMPLES]), *more]


def warnings(bars: Bars) -> list[str]:
    """A sentence for each symbol with nights that look like a split of which no action is stored."""
    sentences = []
    for table in split(adjusted(bars)):
        found = jumps(table)
        if found:
            rows = "".join(f"\\n{each.day},{each.shares:g}:{each.per:g}" for each in found[:EXAMPLES])
            sentences.append(
                f"WARNING: {table.symbol} has no action for what looks like a split: {'; '.join(listed(found))}. "
                "Features, volatility and returns take it for a move of the market, and what is held there loses, or "
                f"wins, by it. If it was one: printf 'date,split{rows}\\n' > actions.csv && python manage.py "
                f"import_data actions.csv --actions --symbol {quote(table.symbol)}"
            )
    return sentences
