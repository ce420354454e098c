"""Windowed sums: right, and the same bits wherever the window begins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.features import rolling

VALUES = np.random.default_rng(5).normal(size=(2, 90))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80), st.integers(1, 70))
def test_total_is_the_sum_of_exactly_the_window(values: list[float], n: int):
    result = rolling.total(np.array(values), n)
    for row in range(len(values)):
        window = values[row - n + 1 : row + 1] if row >= n - 1 else None
        if window is None:
            assert np.isnan(result[row])
        else:
            assert result[row] == pytest.approx(sum(window), rel=1e-12, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, 14, 20, 60])
def test_bits_do_not_depend_on_where_the_series_begins(n: int):
    whole = rolling.total(VALUES, n)
    for start in (1, 3, 17):
        np.testing.assert_array_equal(rolling.total(VALUES[:, start:], n)[:, n - 1 :], whole[:, start + n - 1 :])


def test_total_after_a_huge_value_carries_nothing_of_it():
    values = np.array([1e300, *([0.1] * 20)])
    assert rolling.total(values, 5)[-1] == pytest.approx(0.5, rel=1e-15)


def test_missing_value_is_missing_in_its_windows_only():
    values = np.ones(30)
    values[10] = np.nan
    result = rolling.total(values, 5)
    assert np.isnan(result[10:15]).all()
    assert (result[15:] == 5.0).all()
    assert (result[4:10] == 5.0).all()


def test_window_longer_than_the_series_has_no_value():
    assert np.isnan(rolling.total(np.ones(4), 5)).all()
    assert np.isnan(rolling.lag(np.ones(4), 5)).all()
    assert all(np.isnan(part).all() for part in rolling.level_line(np.ones(4), 5))


def test_variance_of_equal_steps_is_exactly_zero():
    assert (rolling.variance(np.full(40, 0.1), 7)[6:] == 0.0).all()


def test_level_line_is_numpy_s_mean_deviation_and_fit():
    values = 1e6 + VALUES[0]
    distance, deviation, slope = rolling.level_line(values, 20)
    for row in (19, 40, 89):
        window = values[row - 19 : row + 1]
        assert distance[row] == pytest.approx(window[-1] - window.mean(), abs=1e-8)
        assert deviation[row] == pytest.approx(window.std(), rel=1e-8)
        assert slope[row] == pytest.approx(np.polyfit(np.arange(20), window - 1e6, 1)[0], abs=1e-8)


def test_ratio_by_zero_is_the_stated_value_unless_the_numerator_is_missing():
    with np.errstate(divide="ignore", invalid="ignore"):
        result = rolling.ratio(np.array([1.0, np.nan, 3.0]), np.array([0.0, 0.0, 2.0]), empty=0.0)
    np.testing.assert_array_equal(result, [0.0, np.nan, 1.5])


def test_balance_is_zero_between_equals_and_one_against_nothing():
    with np.errstate(divide="ignore", invalid="ignore"):
        result = rolling.balance(np.array([2.0, 0.0, 5.0, 0.0]), np.array([2.0, 0.0, 0.0, 5.0]))
    np.testing.assert_array_equal(result, [0.0, 0.0, 1.0, -1.0])
