"""A file beside the bars that are stored of its symbol: what is missing or jumps where they meet. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from tiers.contracts import (
    PRICES,
    Bars,
    BarTable,
    BoolArray,
    DataError,
    action_evidence,
    calendar,
    split,
    union,
)
from tiers.ingest.bar_problems import Code
from tiers.ingest.prepare import Prepared, merged
from tiers.ingest.validate import gaps, longest_pause

REACH = timedelta(days=4)  # so far another clock, or another name of days, moves a bar
MIN_BARS = 5  # of fewer that are corrected none shows that one factor does it
SHARE, FEWEST = 1 / 3, 3  # of stored bars that one shift of time explains; what explains fewer is chance
WAY_OUT = "import prices as they were traded, or remove the actions by --actions --replace with a file of none"
FACTOR_SPREAD = 0.1  # of the change itself: prices are rounded


def with_neighbours(prepared: Prepared, calendar_name: str, stored: BarTable) -> Prepared:
    """The same with the bars that are `stored` around it, and with the gaps that both leave together.

    `DataError` where prices contradict the splits and dividends that are stored.
    """
    found = replace(prepared, stored=stored)
    refuse_contradictions(found, stored)
    (bars,) = split(neighbours(found))
    lacking = gaps(bars, calendar(calendar_name), None)
    if prepared.traded is not None:
        lacking = longest_pause(lacking)
    others = (problem for problem in prepared.problems if problem.code not in {Code.GAP, Code.PAUSE})
    return replace(found, problems=(*others, *lacking))


def neighbours(prepared: Prepared) -> Bars:
    """The bars of the base timeframe with those stored between them, the last one before and the first one behind."""
    (base,) = split(prepared.batches[0])
    stored = prepared.stored
    if stored is not None:
        first, behind = np.searchsorted(stored.ts, base.ts[0]), np.searchsorted(stored.ts, base.ts[-1], side="right")
        base = merged(base, stored.take(np.arange(max(first - 1, 0), min(behind + 1, stored.n_rows))))
    return replace(union([base], base.timeframe), actions=prepared.actions)


def refuse_contradictions(prepared: Prepared, before: BarTable) -> None:
    """`DataError` where the prices go on over stored splits or dividends as if there had been none.

    Or where they differ from those of `before` by the dividends, or a dividend is not less than the close before it,
    which no read would adjust. They are adjusted already, then.
    """
    (bars,) = split(neighbours(prepared))
    sentence = action_evidence.contradiction(prepared.symbol, nights(prepared))
    sentence = sentence or action_evidence.adjusted_anew(prepared.symbol, bars, before, prepared.actions)
    if sentence:
        raise DataError(f"{sentence}: {WAY_OUT}")


def nights(prepared: Prepared) -> list[action_evidence.Night]:
    """The stored splits and dividends with the nights that the prices have of them."""
    (bars,) = split(neighbours(prepared))
    known = action_evidence.spans(bars, action_evidence.moments(prepared.actions))
    return action_evidence.judged(prepared.actions, known)


def one_factor(prepared: Prepared) -> str:
    """What is said of stored bars whose closes all change by one factor, as prices do that were adjusted anew."""
    (base,), stored = split(prepared.batches[0]), prepared.stored
    if stored is None:
        return ""
    _, mine, theirs = np.intersect1d(base.ts, stored.ts, return_indices=True)
    ratio = base.close[mine] / stored.close[theirs]
    ratio = ratio[np.abs(ratio - 1.0) > 1e-9]
    factor = float(np.median(ratio)) if len(ratio) >= MIN_BARS else 1.0
    if factor == 1.0 or (np.abs(ratio / factor - 1.0) > FACTOR_SPREAD * abs(factor - 1.0)).any():
        return ""
    rest = ", and those before them stay as they are" if stored.ts[0] < base.ts[0] else ""
    return f"{len(ratio)} stored bars change by one factor, {factor:.4g}, as prices that were adjusted anew{rest}"


def left_over(prepared: Prepared) -> BoolArray:
    """Which stored bars have all prices of a bar of this file at another time, as where another clock named them.

    One shift of time must explain them: of the stored bars that the file lacks and that it moves onto bars of the file
    a third and more, and at least three, or all. A bar that never moved shows nothing.
    """
    (base,), stored = split(prepared.batches[0]), prepared.stored
    if stored is None:
        return np.zeros(0, dtype=np.bool_)
    mine, theirs = (np.stack([getattr(table, name) for name in PRICES], axis=1) for table in (base, stored))
    lone = np.flatnonzero((theirs.max(axis=1) > theirs.min(axis=1)) & ~np.isin(stored.ts, base.ts, assume_unique=True))
    at: dict[bytes, list[int]] = {theirs[row].tobytes(): [] for row in lone}
    for number, each in enumerate(mine if at else ()):
        if (rows := at.get(each.tobytes())) is not None:
            rows.append(number)
    once = [(row, rows[0]) for row in lone if len(rows := at[theirs[row].tobytes()]) == 1]
    shifts = np.array([base.ts[there] - stored.ts[row] for row, there in once], "timedelta64[us]")
    found = np.zeros(stored.n_rows, dtype=np.bool_)
    for shift in np.unique(shifts[np.abs(shifts) <= np.timedelta64(REACH)]):
        place = np.searchsorted(base.ts, stored.ts[lone] + shift).clip(max=base.n_rows - 1)
        there = base.ts[place] == stored.ts[lone] + shift
        same = there & (mine[place] == theirs[lone]).all(axis=1)
        if same.sum() >= SHARE * there.sum() and (same.sum() >= FEWEST or same.all()):
            found[lone[same]] = True
    return found
