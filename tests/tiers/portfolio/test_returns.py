import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import prices, use_plain_twins
from tiers.contracts import returns as module
from tiers.contracts.errors import DataError
from tiers.contracts.returns import window_returns


def twin(close, row, n_window):
    """Forward-fill the window's closes, then divide."""
    rows = [list(close[i]) if i >= 0 else [math.nan] * close.shape[1] for i in range(row - n_window, row + 1)]
    for before, after in pairwise(rows):
        for j, price in enumerate(after):
            after[j] = before[j] if math.isnan(price) else price
    filled = np.array(rows)
    return filled[1:] / filled[:-1] - 1.0


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 29))
def test_the_window_is_that_of_the_plain_twin(seed, n_window, row):
    close = prices(30, 2, seed=seed % 50)
    close[np.random.default_rng(seed).random(close.shape) < 0.3] = np.nan
    seen = window_returns(close, row, n_window)
    assert seen.shape == (n_window, 2)
    np.testing.assert_allclose(seen, twin(close, row, n_window), rtol=1e-13, atol=1e-16)
    live = close[max(0, row - n_window) : row + 1]
    np.testing.assert_array_equal(window_returns(live, len(live) - 1, n_window), seen)


def test_bars_after_the_row_are_never_read():
    close = prices(40, 3)
    before = window_returns(close, 20, 10)
    close[21:] *= 3
    np.testing.assert_array_equal(window_returns(close, 20, 10), before)


def test_a_symbol_without_a_bar_has_not_moved_and_one_not_listed_is_unknown():
    close = np.array([[math.nan, 10.0], [20.0, math.nan], [22.0, 11.0]])
    seen = window_returns(close, 2, 3)
    np.testing.assert_allclose(seen, [[math.nan, math.nan], [math.nan, 0.0], [0.1, 0.1]])


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_off_the_timeline_is_refused(row):
    with pytest.raises(DataError, match=f"row must be from 0 to 4, was {row}"):
        window_returns(prices(5, 1), row, 3)


def test_the_plain_twin_of_the_kernel_agrees(monkeypatch):
    close = prices(20, 2)
    close[3:6, 0] = np.nan
    compiled = window_returns(close, 15, 14)
    use_plain_twins(monkeypatch, module)
    np.testing.assert_array_equal(window_returns(close, 15, 14), compiled)
