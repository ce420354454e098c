"""Own rows are packed without gaps and find their way back."""

from __future__ import annotations

import numpy as np
import pytest

from tiers.predict.packing import pack

FEATURES = np.random.default_rng(3).normal(size=(30, 2, 4))


def test_full_series_is_packed_as_it_is():
    packed = pack(FEATURES, receptive_bars=5)
    np.testing.assert_array_equal(packed.values, FEATURES)
    assert not packed.ready[:4].any()
    assert packed.ready[4:].all()
    assert (packed.row == np.arange(30)[:, None]).all()


def test_rows_without_any_feature_are_taken_out():
    holed = FEATURES.copy()
    holed[[3, 10, 11], 1] = np.nan
    packed = pack(holed, receptive_bars=5)
    own = np.setdiff1d(np.arange(30), [3, 10, 11])
    np.testing.assert_array_equal(packed.values[:27, 1], FEATURES[own, 1])
    np.testing.assert_array_equal(packed.row[:, 1], [*own, -1, -1, -1])
    assert packed.ready[4:27, 1].all()
    assert not packed.ready[27:, 1].any()


def test_missing_feature_keeps_the_following_rows_from_ready():
    holed = FEATURES.copy()
    holed[12, 0, 2] = np.nan
    packed = pack(holed, receptive_bars=5)
    assert np.flatnonzero(~packed.ready[:, 0]).tolist() == [0, 1, 2, 3, 12, 13, 14, 15, 16]
    assert packed.values[12, 0, 2] == 0.0
    assert packed.ready[4:, 1].all()


def test_arrays_of_the_timeline_are_placed_in_packed_order():
    holed = FEATURES.copy()
    holed[[0, 1], 0] = np.nan
    packed = pack(holed, receptive_bars=2)
    numbers = np.arange(60.0).reshape(30, 2)
    placed = packed.place(numbers, outside=-7)
    np.testing.assert_array_equal(placed[:28, 0], numbers[2:, 0])
    assert (placed[28:, 0] == -7).all()
    np.testing.assert_array_equal(placed[:, 1], numbers[:, 1])


@pytest.mark.parametrize("n_bars", [0, 1, 3])
def test_too_few_rows_are_never_ready(n_bars: int):
    assert not pack(FEATURES[:n_bars], receptive_bars=5).ready.any()


def test_symbols_without_rows_pack_to_nothing():
    packed = pack(np.full((6, 2, 3), np.nan), receptive_bars=2)
    assert packed.values.shape == (0, 2, 3)


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="n_bars, n_symbols, n_features"):
        pack(np.ones((3, 4)), receptive_bars=2)
