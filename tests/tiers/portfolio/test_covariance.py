import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from tests.support.risk import returns, use_plain_twins
from tiers.portfolio import covariance
from tiers.portfolio.covariance import shrunk_correlation


def oracle(window):
    z = (window - window.mean(axis=0)) / window.std(axis=0)
    return ledoit_wolf(z, assume_centered=True)


@given(st.integers(0, 10_000), st.integers(2, 20), st.floats(0.0, 0.95))
def test_the_estimate_is_that_of_scikit_learn(seed, n_symbols, common):
    window = returns(90, n_symbols, common=common, seed=seed)
    seen, shrinkage = shrunk_correlation(window, 60)
    expected, intensity = oracle(window)
    assert shrinkage == pytest.approx(intensity, abs=1e-10)
    np.testing.assert_allclose(seen, expected, atol=1e-10)
    np.testing.assert_array_equal(np.diag(seen), 1.0)
    assert np.linalg.eigvalsh(seen)[0] > 0


def test_more_rows_shrink_less():
    few = shrunk_correlation(returns(70, 10), 60)[1]
    many = shrunk_correlation(returns(5_000, 10), 60)[1]
    assert 0 < many < few < 1


def test_more_symbols_than_rows_still_give_a_definite_matrix():
    seen, shrinkage = shrunk_correlation(returns(12, 30), 10)
    assert 0 < shrinkage <= 1
    assert np.linalg.eigvalsh(seen)[0] > 0


def test_symbols_without_history_or_movement_are_uncorrelated():
    window = returns(120, 5)
    window[:80, 1] = np.nan  # forty rows are too few
    window[:20, 2] = np.nan  # a hundred are enough
    window[:, 3] = 0.0
    seen, shrinkage = shrunk_correlation(window, 60)
    expected, intensity = oracle(window[20:, [0, 2, 4]])
    np.testing.assert_allclose(seen[np.ix_([0, 2, 4], [0, 2, 4])], expected, atol=1e-10)
    assert shrinkage == pytest.approx(intensity)
    for j in (1, 3):
        np.testing.assert_array_equal(seen[j], np.eye(5)[j])


@pytest.mark.parametrize("window", [returns(10, 3), np.full((100, 3), np.nan), np.zeros((100, 3))])
def test_without_history_nothing_is_correlated(window):
    seen, shrinkage = shrunk_correlation(window, 60)
    np.testing.assert_array_equal(seen, np.eye(3))
    assert shrinkage == 0.0


def test_complete_rows_that_are_too_few_leave_all_uncorrelated():
    window = returns(120, 2)
    window[:60, 0] = np.nan
    window[60:, 1] = np.nan
    np.testing.assert_array_equal(shrunk_correlation(window, 60)[0], np.eye(2))


def test_a_single_symbol_correlates_with_itself():
    assert shrunk_correlation(returns(100, 1), 60) == (np.array([[1.0]]), 0.0)


def test_the_covariance_carries_the_forecast_volatilities():
    window, sigma = returns(), np.array([0.01, 0.02, np.nan])
    seen = covariance.covariance(window, sigma, min_history=60)
    correlation = shrunk_correlation(window, 60)[0]
    np.testing.assert_allclose(np.diag(seen), sigma**2)
    assert seen[0, 1] == pytest.approx(0.01 * 0.02 * correlation[0, 1])
    assert np.isnan(seen[2]).all()


def test_the_plain_twins_give_the_same_estimate(monkeypatch):
    window = returns(70, 4)
    window[:3, 2] = np.nan
    compiled, shrinkage = shrunk_correlation(window, 60)
    use_plain_twins(monkeypatch, covariance)
    seen = covariance.shrunk_correlation(window, 60)
    np.testing.assert_allclose(seen[0], compiled, rtol=1e-12)
    assert seen[1] == pytest.approx(shrinkage, rel=1e-12)
