"""Temperature and prior: forecasts that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.predict import calibration

PRIOR = np.array([0.25, 0.45, 0.30])
RNG = np.random.default_rng(8)


def drawn(probability: np.ndarray) -> np.ndarray:
    return (RNG.random((len(probability), 1)) > probability.cumsum(axis=1)).sum(axis=1).clip(0, 2).astype(np.int8)


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3), st.floats(0.25, 100))
def test_probabilities_are_positive_and_sum_to_one(logits: list[float], temperature: float):
    probability = calibration.probabilities(np.array([logits]), prior=PRIOR, temperature=temperature)
    assert (probability >= 0).all()
    assert probability.sum() == pytest.approx(1.0, abs=1e-12)


def test_no_evidence_or_a_high_temperature_gives_the_class_frequencies():
    np.testing.assert_allclose(calibration.probabilities(np.zeros(3), prior=PRIOR, temperature=1.0), PRIOR, atol=1e-15)
    hot = calibration.probabilities(np.array([9.0, -3.0, 1.0]), prior=PRIOR, temperature=1e9)
    np.testing.assert_allclose(hot, PRIOR, atol=1e-7)


def test_missing_logits_stay_missing():
    assert np.isnan(calibration.probabilities(np.full((2, 3), np.nan), prior=PRIOR, temperature=1.0)).all()


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5, 8.0])
def test_temperature_of_overconfident_logits_is_found(true_temperature: float):
    logits = RNG.normal(0, 3, (40_000, 3))
    outcome = drawn(calibration.probabilities(logits, prior=PRIOR, temperature=true_temperature))
    assert calibration.fit_temperature(logits, outcome, prior=PRIOR) == pytest.approx(true_temperature, rel=0.06)


def test_no_other_temperature_is_better():
    logits = RNG.normal(0, 2, (500, 3))
    outcome = drawn(calibration.probabilities(logits, prior=PRIOR, temperature=3.0))
    found = calibration.fit_temperature(logits, outcome, prior=PRIOR)

    def loss(t: float) -> float:
        return calibration.log_loss(calibration.probabilities(logits, prior=PRIOR, temperature=t), outcome)

    assert all(loss(found) <= loss(t) + 1e-9 for t in np.geomspace(0.25, 100, 400))


def test_worthless_logits_are_scaled_away():
    logits = RNG.normal(0, 3, (4000, 3))
    outcome = drawn(np.broadcast_to(PRIOR, (4000, 3)))
    assert calibration.fit_temperature(logits, outcome, prior=PRIOR) > 20


def test_without_samples_nothing_is_scaled_and_the_loss_is_unknown():
    none = np.zeros(0, dtype=np.int8)
    assert calibration.fit_temperature(np.zeros((0, 3)), none, prior=PRIOR) == 1.0
    assert np.isnan(calibration.log_loss(np.zeros((0, 3)), none))


def test_a_temperature_that_ends_on_a_bound_is_said():
    rng = np.random.default_rng(3)
    outcome = rng.integers(0, 3, 4_000).astype(np.int8)
    prior = np.full(3, 1 / 3)
    blind = calibration.fit_temperature(rng.normal(size=(4_000, 3)) * 0.2, outcome, prior=prior)
    right = np.where(np.eye(3)[outcome] > 0, 0.05, 0.0)
    shy = calibration.fit_temperature(right, outcome, prior=prior)
    assert calibration.at_bound(shy).startswith("The temperature ended at its lower bound 0.25: ")
    wrong = calibration.fit_temperature(-right, outcome, prior=prior)
    assert calibration.at_bound(wrong).startswith("The temperature ended at its upper bound 100: ")
    assert calibration.at_bound(1.7) == ""
    assert blind > 1.0
