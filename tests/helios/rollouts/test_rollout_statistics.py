"""Each figure agrees with SciPy's, and says so little about too little that nobody is misled."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from helios.rollouts.core import statistics

values = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))
samples = st.lists(values, min_size=2, max_size=40)


@given(samples, samples, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_welch_agrees_with_scipy(a, b, confidence) -> None:
    assume(np.ptp(a) > 0.1 and np.ptp(b) > 0.1)  # SciPy warns of samples that are nearly constant
    ours = statistics.welch_interval(a, b, confidence=confidence)
    theirs = stats.ttest_ind(b, a, equal_var=False).confidence_interval(confidence)
    assert ours.estimate == pytest.approx(np.mean(b) - np.mean(a), rel=1e-9, abs=1e-6)
    assert ours.low == pytest.approx(theirs.low, rel=1e-6, abs=1e-6)
    assert ours.high == pytest.approx(theirs.high, rel=1e-6, abs=1e-6)


@given(samples)
def test_the_interval_of_a_mean_agrees_with_scipy(a) -> None:
    assume(np.ptp(a) > 0.1)
    ours = statistics.mean_interval(a)
    theirs = stats.ttest_1samp(a, 0.0).confidence_interval(0.95)
    assert ours.low == pytest.approx(theirs.low, rel=1e-6, abs=1e-6)
    assert ours.high == pytest.approx(theirs.high, rel=1e-6, abs=1e-6)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(trial) -> None:
    n_hits, n = trial
    ours = statistics.wilson_interval(n_hits, n)
    theirs = stats.binomtest(n_hits, n).proportion_ci(0.95, method="wilson")
    assert ours.estimate == n_hits / n
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))


def test_no_trial_says_nothing_of_a_rate() -> None:
    nothing = statistics.wilson_interval(0, 0)
    assert math.isnan(nothing.estimate)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


def test_more_hits_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to n 3, was 4"):
        statistics.wilson_interval(4, 3)


def test_the_bootstrap_agrees_with_scipy_within_its_own_noise() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.exponential(1.0, 200), rng.exponential(1.2, 150)
    ours = statistics.bootstrap_interval(a, b, seed=3, n_resamples=5_000)
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: np.mean(y, axis=axis) - np.mean(x, axis=axis),
        method="percentile",
        n_resamples=5_000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_the_bootstrap_is_the_same_for_the_same_seed_whatever_its_chunks(monkeypatch) -> None:
    a, b = np.arange(30.0), np.arange(10.0, 60.0)
    first = statistics.bootstrap_interval(a, b, seed=11)
    assert statistics.bootstrap_interval(a, b, seed=11) == first
    assert statistics.bootstrap_interval(a, b, seed=12) != first
    monkeypatch.setattr(statistics, "_CHUNK", 100)
    assert statistics.bootstrap_interval(a, b, seed=11) == first


def test_welch_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        interval = statistics.welch_interval(rng.normal(0, 1, 12), rng.normal(0.5, 3, 30))
        hits += interval.low <= 0.5 <= interval.high
    assert 0.92 <= hits / 400 <= 0.98


@given(st.lists(values, min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_numpys_and_lies_within_the_sample(sample, q) -> None:
    found = statistics.quantile(sample, q)
    assert found == pytest.approx(float(np.quantile(sample, q)))
    assert min(sample) - 1e-6 <= found <= max(sample) + 1e-6


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_makes_the_result_none_either(bad: float) -> None:
    for interval in (
        statistics.welch_interval([1.0, 2.0, bad], [1.0, 2.0]),
        statistics.bootstrap_interval([1.0, 2.0], [1.0, bad], seed=1),
        statistics.mean_interval([bad, 1.0]),
    ):
        assert math.isnan(interval.estimate)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
    assert math.isnan(statistics.quantile([1.0, bad], 0.5))


def test_an_empty_sample_has_no_quantile() -> None:
    assert math.isnan(statistics.quantile([], 0.95))


@pytest.mark.parametrize("few", [[], [1.0]])
def test_one_value_has_no_spread(few) -> None:
    with pytest.raises(ValueError, match="n at least 2"):
        statistics.welch_interval(few, [1.0, 2.0])
    with pytest.raises(ValueError, match="n at least 2"):
        statistics.bootstrap_interval([1.0, 2.0], few, seed=1)
    with pytest.raises(ValueError, match="n at least 2"):
        statistics.mean_interval(few)


def test_constant_samples_differ_exactly() -> None:
    assert statistics.welch_interval([2.0, 2.0], [5.0, 5.0]) == statistics.Interval(3.0, 3.0, 3.0)
