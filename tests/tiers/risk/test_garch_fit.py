import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.risk import simulated_returns
from tiers.risk import garch_fit

RETURNS = simulated_returns(120, seed=2, scale=1.0)
THETAS = st.tuples(st.floats(-0.5, 0.5), st.floats(1e-3, 2.0), st.floats(0.02, 0.98), st.floats(0.05, 0.99))


def twin_variances(returns, theta, start):
    """The recursion as the book writes it; element k holds for return k."""
    mu, omega, share, persistence = theta
    alpha, beta = share * persistence, (1 - share) * persistence
    h = [omega + (alpha + beta) * start]
    for r in returns[:-1]:
        h.append(omega + alpha * (r - mu) ** 2 + beta * h[-1])
    return np.array(h)


def twin(returns, theta, start):
    """The negative log-likelihood, a logarithm at a time."""
    h = twin_variances(returns, theta, start)
    return 0.5 * np.sum(np.log(2 * np.pi) + np.log(h) + (returns - theta[0]) ** 2 / h)


def slopes(function, theta):
    """Central differences of a function of theta, one row a parameter."""
    rows = []
    for i in range(4):
        step = np.zeros(4)
        step[i] = 1e-5 * max(abs(theta[i]), 1e-2)
        rows.append((function(theta + step) - function(theta - step)) / (2 * step[i]))
    return np.array(rows)


def scored(theta):
    gradient, information = np.empty(4), np.empty((4, 4))
    garch_fit.score(RETURNS, theta, 1.0, gradient, information)
    return gradient, information


@given(THETAS)
def test_the_likelihood_is_the_one_of_the_book(values):
    theta = np.array(values)
    expected = twin(RETURNS, theta, 1.0)
    assert garch_fit.negative_loglikelihood(RETURNS, theta, 1.0) == pytest.approx(expected, rel=1e-12)
    assert garch_fit.negative_loglikelihood.py_func(RETURNS, theta, 1.0) == pytest.approx(expected, rel=1e-12)


@given(THETAS)
def test_the_gradient_is_the_slope_of_the_likelihood(values):
    theta = np.array(values)
    expected = slopes(lambda at: twin(RETURNS, at, 1.0), theta)
    np.testing.assert_allclose(scored(theta)[0], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@given(THETAS)
def test_the_information_is_that_of_normal_errors(values):
    theta = np.array(values)
    h = twin_variances(RETURNS, theta, 1.0)
    by = slopes(lambda at: twin_variances(RETURNS, at, 1.0), theta) / h
    expected = 0.5 * by @ by.T
    expected[0, 0] += np.sum(1 / h)
    np.testing.assert_allclose(scored(theta)[1], expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_a_clear_maximum_has_few_starts_and_a_flat_likelihood_all():
    clear = simulated_returns(4_000, seed=1, omega=0.1, alpha=0.5, beta=0.4, scale=1.0)
    noise = np.random.default_rng(3).standard_normal(1_000)
    assert len(garch_fit.starts(clear, 0.0, float(np.var(clear)))) == 1
    assert len(garch_fit.starts(noise, 0.0, 1.0)) >= 3


@pytest.mark.parametrize("alpha", [0.02, 0.3])
def test_the_search_ends_where_the_likelihood_no_longer_rises(alpha):
    returns = simulated_returns(2_000, seed=6, omega=0.1, alpha=alpha, beta=0.6, scale=1.0)
    theta, loglikelihood, converged = garch_fit.maximise(returns, 1.0, True, garch_fit.MAX_ITERATIONS)
    assert converged
    assert loglikelihood == -garch_fit.negative_loglikelihood(returns, theta, 1.0)
    for i in range(4):
        for step in (-1e-2, 1e-2):
            beside = theta.copy()
            beside[i] = np.clip(theta[i] + step * max(abs(theta[i]), 0.1), 1e-8, 1.0) if i else theta[i] + step
            assert loglikelihood >= -garch_fit.negative_loglikelihood(returns, beside, 1.0) - 1e-9


@given(st.lists(st.floats(-30, 30), min_size=50, max_size=80))
def test_any_returns_end_the_search(values):
    returns = np.array(values)
    if returns.std() < 1e-3:
        return
    unit = returns / returns.std()
    theta, loglikelihood, _ = garch_fit.maximise(unit, 1.0, True, garch_fit.MAX_ITERATIONS)
    assert np.isfinite(theta).all()
    assert np.isfinite(loglikelihood)
    assert 0 <= theta[2] <= 1
    assert 0 <= theta[3] <= 1
