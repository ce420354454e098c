"""Purged walk-forward: nothing that trains knows about what it is tested on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.contracts.errors import DataError
from tiers.predict import splits


def known_at(n_bars: int, horizon: int, n_symbols: int = 2) -> np.ndarray:
    rows = np.arange(n_bars)[:, None] + horizon
    return np.broadcast_to(np.where(rows < n_bars, rows, -1), (n_bars, n_symbols))


@given(
    n_bars=st.integers(40, 400),
    horizon=st.integers(1, 12),
    n_folds=st.integers(1, 6),
    embargo=st.integers(0, 10),
    share=st.floats(0.1, 0.4),
)
def test_no_training_label_reaches_into_validation_and_none_of_both_into_the_test(
    n_bars: int, horizon: int, n_folds: int, embargo: int, share: float
):
    known = known_at(n_bars, horizon)
    folds = list(
        splits.walk_forward(known, n_folds=n_folds, first_test_share=0.5, validation_share=share, embargo_bars=embargo)
    )
    assert len(folds) == n_folds
    for fold in folds:
        start = np.flatnonzero(fold.test.any(axis=1)).min(initial=n_bars)
        middle = np.flatnonzero(fold.validation.any(axis=1)).min(initial=start)
        assert (known[fold.train] + embargo < middle).all()
        assert (known[fold.validation] + embargo < start).all()
        assert not (fold.train & fold.validation | fold.train & fold.test | fold.validation & fold.test).any()


def test_every_sample_from_the_first_test_row_on_is_tested_exactly_once():
    known = known_at(200, 5)
    folds = splits.walk_forward(known, n_folds=3, first_test_share=0.5, validation_share=0.2, embargo_bars=5)
    count = sum(fold.test.astype(int) for fold in folds)
    assert (count[100:195] == 1).all()
    assert (count[:100] == 0).all()
    assert (count[195:] == 0).all()


def test_training_part_grows_and_stays_before_its_test():
    known = known_at(300, 5)
    folds = list(splits.walk_forward(known, n_folds=3, first_test_share=0.4, validation_share=0.2, embargo_bars=2))
    sizes = [int(fold.train.sum()) for fold in folds]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0
    for before, after in pairwise(folds):
        assert (after.train | ~before.train).all()


def test_purge_takes_exactly_the_labels_that_overlap():
    fold = splits.split(known_at(100, 5, 1), start=50, end=80, validation_share=0.2, embargo_bars=0)
    assert np.flatnonzero(fold.train[:, 0]).max() == 34  # known at 39, validation begins at 40
    assert np.flatnonzero(fold.validation[:, 0]).tolist() == list(range(40, 45))
    assert np.flatnonzero(fold.test[:, 0]).tolist() == list(range(50, 80))


def test_embargo_takes_more_bars():
    fold = splits.split(known_at(100, 5, 1), start=50, end=80, validation_share=0.2, embargo_bars=3)
    assert np.flatnonzero(fold.train[:, 0]).max() == 31
    assert np.flatnonzero(fold.validation[:, 0]).max() == 41


def test_label_that_spans_a_gap_is_purged_by_when_it_is_known():
    known = known_at(100, 5, 1).copy()
    known[20] = 60  # the symbol was not traded for long: its fifth bar came at row 60
    fold = splits.split(known, start=50, end=80, validation_share=0.2, embargo_bars=0)
    assert not fold.train[20, 0]
    assert not fold.validation[20, 0]


def test_more_windows_than_bars_is_refused():
    with pytest.raises(DataError, match="12 test windows"):
        list(
            splits.walk_forward(known_at(20, 1), n_folds=12, first_test_share=0.5, validation_share=0.2, embargo_bars=0)
        )
