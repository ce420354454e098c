"""Figures of forecasts, each by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tiers.contracts import BUY, HOLD, SELL
from tiers.predict import metrics

PROBABILITY = np.array([[0.2, 0.2, 0.6], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]])
OUTCOME = np.array([BUY, SELL, HOLD, SELL], dtype=np.int8)
FORWARD = np.array([1.2, -0.9, 0.1, -2.0])


def test_figures_by_hand():
    found = metrics.forecast_metrics(PROBABILITY, OUTCOME, FORWARD)
    assert found["log_loss"] == pytest.approx(-(math.log(0.6) + math.log(0.5) + math.log(0.8) + math.log(0.1)) / 4)
    assert found["brier"] == pytest.approx((0.24 + 0.38 + 0.06 + 1.34) / 4)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["hit_rate"] == pytest.approx(2 / 3)
    assert (found["n_calls"], found["always_up"]) == (3, pytest.approx(1 / 3))
    # confidences 0.6 right, 0.5 right, 0.8 right, 0.7 wrong, each in a bin of its own
    assert found["calibration_error"] == pytest.approx((0.4 + 0.5 + 0.2 + 0.7) / 4)
    assert found["ic"] == pytest.approx(1 - 6 * 12 / 60)  # ranks 3 1 2 4 against 4 2 3 1


def test_forecast_that_never_calls_has_no_hit_rate_and_no_rank_correlation():
    found = metrics.forecast_metrics(np.tile([0.2, 0.6, 0.2], (4, 1)), OUTCOME, FORWARD)
    assert found["hit_rate"] is None
    assert found["ic"] is None
    assert found["n_calls"] == 0


def test_figures_without_samples_are_none():
    found = metrics.forecast_metrics(np.zeros((0, 3)), np.zeros(0, dtype=np.int8), np.zeros(0))
    assert set(found.values()) == {None}


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=30))
def test_rank_correlation_equals_scipy_s(pairs: list[tuple[int, int]]):
    one, other = np.array(pairs, dtype=float).T
    found = metrics.rank_correlation(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)


def test_perfectly_calibrated_forecasts_have_a_small_error():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.4, 1.0, 50_000)
    probability = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], axis=1)
    outcome = np.where(rng.random(50_000) < confidence, 0, 1 + rng.integers(2, size=50_000)).astype(np.int8)
    assert metrics.calibration_error(probability, outcome) < 0.01


def test_frequencies_leave_no_class_impossible():
    share = metrics.frequencies(np.array([0, 0, 1], dtype=np.int8))
    np.testing.assert_allclose(share, np.array([3, 2, 1]) / 6)


def test_persistence_repeats_the_last_move():
    forecast = metrics.persistence(np.array([BUY, SELL], dtype=np.int8), held=0.4)
    np.testing.assert_allclose(forecast, [[0.3, 0.3, 0.4], [0.4, 0.3, 0.3]])
