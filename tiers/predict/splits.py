"""Walk-forward splits that leak nothing: purged labels and an embargo.

Source: Lopez de Prado, Advances in Financial Machine Learning (2018), ch. 7. A label spans the bars until it is
known; a training label that reaches into a later part would tell about it, so it is purged. An embargo leaves
out further bars, for what neighbouring bars share beyond their labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tiers.contracts import BoolArray
from tiers.contracts.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which samples serve for what; three disjoint (n_bars, n_symbols) masks, in the order of time."""

    train: BoolArray
    validation: BoolArray
    test: BoolArray


def walk_forward(
    known_at: npt.NDArray[np.int64],
    *,
    n_folds: int,
    first_test_share: float,
    validation_share: float,
    embargo_bars: int,
) -> Iterator[Split]:
    """`n_folds` splits with growing training parts and test windows of equal length that follow one another.

    `known_at` (n_bars, n_symbols) is the row at which a sample's label is known, negative where it never is.
    Tests cover the rows from `first_test_share` on; the last `validation_share` of what lies before a test
    validates. `DataError` where a test window would have no row.
    """
    n_bars = len(known_at)
    edges = np.linspace(round(first_test_share * n_bars), n_bars, n_folds + 1).round().astype(int)
    if n_folds < 1 or np.any(np.diff(edges) < 1):
        raise DataError(f"{n_folds} test windows need at least as many bars, there were {n_bars - edges[0]}")
    for start, end in pairwise(edges):
        yield split(known_at, start=start, end=end, validation_share=validation_share, embargo_bars=embargo_bars)


def split(
    known_at: npt.NDArray[np.int64], *, start: int, end: int, validation_share: float, embargo_bars: int
) -> Split:
    """One split: rows before `start` train and validate, rows start..end - 1 test.

    A training label is known before the validation begins and a validation label before the test does, each by
    more than `embargo_bars`.
    """
    rows = np.arange(len(known_at))[:, None]
    middle = start - round(validation_share * start)
    known = known_at >= 0
    return Split(
        train=known & (known_at + embargo_bars < middle),
        validation=known & (rows >= middle) & (known_at + embargo_bars < start),
        test=known & (rows >= start) & (rows < end),
    )
