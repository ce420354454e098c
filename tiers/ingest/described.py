"""What is about to be stored, in words: the first and the last bar, what is missing, and what was left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from tiers.contracts import Bars, BarTable, utc
from tiers.ingest.bar_problems import Code, Problem
from tiers.ingest.beside import left_over, neighbours, one_factor
from tiers.ingest.prepare import Prepared

EXAMPLES = 3
# Shares for one, as they are usual; a reverse split has them the other way round.
SPLITS: Final = np.array([1.5, *range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100])
SPLIT_DRIFT: Final = 0.03  # Apple opened 2 % above a quarter of its last close when it split in 2020
ONE_DAY, ONE_WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")


def described(prepared: Prepared) -> dict[str, str]:
    """Lines about the base timeframe by their titles; a title without anything to tell is absent."""
    base = prepared.batches[0]
    gaps = [problem for problem in prepared.problems if problem.code is Code.GAP]
    forming = [problem for problem in prepared.problems if problem.code is Code.FORMING]
    dropped = [problem for problem in prepared.problems if problem.rejects]
    lines = {
        "bars": f"{base.n_bars} of {base.timeframe}",
        "first": _bar(base, 0),
        "last": _bar(base, -1),
        "gaps": _gaps(gaps),
        "splits": _splits(neighbours(prepared), one_factor(prepared)),
        "left over": _left_over(prepared),
        "forming": _examples(forming),
        "dropped": _examples(dropped),
    }
    return {title: text for title, text in lines.items() if text}


def _bar(bars: Bars, row: int) -> str:
    prices = ", ".join(
        f"{name} {getattr(bars, name)[row, 0]:.12g}" for name in ("open", "high", "low", "close", "volume")
    )
    return f"known at {utc(bars.ts[row]):%Y-%m-%d %H:%M} UTC, {prices}"


def _gaps(gaps: Sequence[Problem]) -> str:
    if not gaps:
        return "none"
    longest = max(gaps, key=lambda gap: gap.missing_bars).detail
    if len(gaps) == 1:
        return longest
    return f"{len(gaps)} with {sum(gap.missing_bars for gap in gaps)} bars missing; in the longest {longest}"


def _splits(bars: BarTable, adjusted: str) -> str:
    """The nights over which the price changed as in a split, which no file of adjusted prices has; then `adjusted`."""
    opened = (bars.ts - np.timedelta64(1, "us")).astype("datetime64[D]")
    ratio = bars.open[1:] / bars.close[:-1]
    times = np.maximum(ratio, 1 / ratio)
    nights = (np.diff(opened) >= ONE_DAY) & (np.diff(bars.ts) <= ONE_WEEK)
    large = np.flatnonzero(nights & (times > SPLITS[0] / (1 + SPLIT_DRIFT)))
    usual = SPLITS[np.abs(times[large, None] / SPLITS - 1).argmin(axis=1)]
    alike = np.abs(times[large] / usual - 1) <= SPLIT_DRIFT
    found = list(zip(large[alike].tolist(), usual[alike].tolist(), strict=True))
    shown = [
        f"{opened[row + 1]} opens at {ratio[row]:.4g} of the close before, which looks like a split of "
        f"{f'{shares:g} for 1' if ratio[row] < 1 else f'1 for {shares:g}'}"
        for row, shares in found[:EXAMPLES]
    ]
    more = f"{len(found) - EXAMPLES} more" if len(found) > EXAMPLES else ""
    said = "; ".join(filter(None, [*shown, more, adjusted]))
    return f"{said}; prices are stored as they stand" if said else ""


def _left_over(prepared: Prepared) -> str:
    """The stored bars that the file has at other times."""
    if prepared.stored is None:
        return ""
    ts = prepared.stored.ts[left_over(prepared)]
    if not len(ts):
        return ""
    bars = "1 stored bar has" if len(ts) == 1 else f"{len(ts)} stored bars have"
    return (
        f"{bars} the prices of this file at another time, the first at {utc(ts[0]):%Y-%m-%d %H:%M} UTC: another clock "
        "named them; --replace removes all stored bars first"
    )


def _examples(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    shown = "; ".join(problem.place_and_detail for problem in problems[:EXAMPLES])
    return f"{len(problems)} row{'s' * (len(problems) > 1)}: {shown}{'; ...' if len(problems) > EXAMPLES else ''}"
