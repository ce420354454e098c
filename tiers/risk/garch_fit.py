"""Maximum likelihood of a GARCH(1,1) with normal errors, compiled: the recursion, its gradient, the search.

The search is Fisher scoring with the damping of Levenberg and Marquardt (Bollerslev, 1986, gives the gradient and
the information) in theta = (mu, omega, share, persistence), where alpha = share * persistence and beta is the
rest of it: every constraint is then a bound on one parameter. It starts from the best point of a small grid, so
that no fit knows of an earlier one.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from tiers.contracts import FloatArray

MAX_ITERATIONS = 200
NEAR_UNIT_ROOT = (
    1.0 - 1e-6
)  # of the persistence: at or above it shocks never fade, the long-run variance has no meaning
CONVERGED = 1e-9  # of the log-likelihood: a smaller gain ends the search
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_LOW = (-np.inf, 1e-8, 0.0, 0.0)  # of theta for returns of unit variance; arch bounds omega alike
_HIGH = (np.inf, 10.0, 1.0, 1.0)
_ALPHAS = (0.01, 0.05, 0.1, 0.2)
_PERSISTENCES = (0.5, 0.7, 0.9, 0.98)
_RIVAL = 3.0  # of the log-likelihood: a start that is further behind the best leads nowhere else
_N_BLOCK = 16  # variances multiplied before one logarithm: each lies between 1e-8 and some 1e5
_MAX_DAMPING = 1e12  # no step so short goes uphill unless rounding decides


@numba.njit(cache=True)
def negative_loglikelihood(returns: FloatArray, theta: FloatArray, start: float) -> float:
    """Of (n,) returns; `start` is the pre-sample variance and the pre-sample squared error."""
    mu, omega, alpha, beta = theta[0], theta[1], theta[2] * theta[3], (1.0 - theta[2]) * theta[3]
    variance = omega + theta[3] * start
    total, product = 0.0, 1.0
    for k in range(len(returns)):
        square = (returns[k] - mu) ** 2
        total += square / variance
        product *= variance
        if k % _N_BLOCK == _N_BLOCK - 1:
            total += math.log(product)
            product = 1.0
        variance = omega + alpha * square + beta * variance
    return 0.5 * (total + math.log(product)) + _HALF_LOG_2PI * len(returns)


@numba.njit(cache=True)
def score(returns: FloatArray, theta: FloatArray, start: float, gradient: FloatArray, information: FloatArray) -> None:
    """Write the gradient of the negative log-likelihood, (4,), and its expected Hessian, (4, 4), in theta."""
    mu, omega, alpha, beta = theta[0], theta[1], theta[2] * theta[3], (1.0 - theta[2]) * theta[3]
    variance = omega + theta[3] * start
    by_mu, by_omega, by_alpha, by_beta = 0.0, 1.0, start, start  # derivatives of the variance
    g0, g1, g2, g3 = 0.0, 0.0, 0.0, 0.0
    h00, h01, h02, h03, h11, h12, h13, h22, h23, h33 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(len(returns)):
        error = returns[k] - mu
        precision = 1.0 / variance
        pull = 0.5 * precision * (1.0 - error * error * precision)
        g0 += pull * by_mu - error * precision
        g1 += pull * by_omega
        g2 += pull * by_alpha
        g3 += pull * by_beta
        weight = 0.5 * precision * precision
        w0, w1, w2 = weight * by_mu, weight * by_omega, weight * by_alpha
        h00 += w0 * by_mu + precision
        h01 += w0 * by_omega
        h02 += w0 * by_alpha
        h03 += w0 * by_beta
        h11 += w1 * by_omega
        h12 += w1 * by_alpha
        h13 += w1 * by_beta
        h22 += w2 * by_alpha
        h23 += w2 * by_beta
        h33 += weight * by_beta * by_beta
        by_mu = beta * by_mu - 2.0 * alpha * error
        by_omega = beta * by_omega + 1.0
        by_alpha = beta * by_alpha + error * error
        by_beta = beta * by_beta + variance
        variance = omega + alpha * error * error + beta * variance
    # alpha = share * persistence, beta = (1 - share) * persistence
    share, persistence = theta[2], theta[3]
    rest = 1.0 - share
    gradient[0], gradient[1] = g0, g1
    gradient[2], gradient[3] = persistence * (g2 - g3), share * g2 + rest * g3
    information[0, 0], information[0, 1], information[1, 1] = h00, h01, h11
    information[0, 2], information[0, 3] = persistence * (h02 - h03), share * h02 + rest * h03
    information[1, 2], information[1, 3] = persistence * (h12 - h13), share * h12 + rest * h13
    information[2, 2] = persistence**2 * (h22 - 2.0 * h23 + h33)
    information[2, 3] = persistence * (share * (h22 - h23) + rest * (h23 - h33))
    information[3, 3] = share**2 * h22 + 2.0 * share * rest * h23 + rest**2 * h33
    for i in range(4):
        for j in range(i):
            information[i, j] = information[j, i]


@numba.njit(cache=True)
def starts(returns: FloatArray, mu: float, start: float) -> FloatArray:
    """Where searches begin, (n, 4): for each usual persistence its likeliest alpha, unless it is far behind the best.

    Where little moves the variance the likelihood is flat and has several maxima; elsewhere few starts remain.
    """
    found, values = np.empty((len(_PERSISTENCES), 4)), np.full(len(_PERSISTENCES), np.inf)
    theta = np.empty(4)
    theta[0] = mu
    least, n_near = np.inf, 0
    for i in range(len(_PERSISTENCES)):
        for alpha in _ALPHAS:
            persistence = _PERSISTENCES[i]
            theta[1], theta[2], theta[3] = start * (1.0 - persistence), alpha / persistence, persistence
            value = negative_loglikelihood(returns, theta, start)
            if value < values[i]:
                values[i] = value
                for j in range(4):  # numba takes four seconds to compile that one array be written into another
                    found[i, j] = theta[j]
                least = min(least, value)
    for i in range(len(_PERSISTENCES)):
        if values[i] <= least + _RIVAL:
            for j in range(4):
                found[n_near, j] = found[i, j]
            n_near += 1
    near: FloatArray = found[:n_near]
    return near


@numba.njit(cache=True)
def _step(theta: FloatArray, gradient: FloatArray, information: FloatArray, damping: float, fixed: float) -> FloatArray:
    """The damped scoring step of the free parameters inside the bounds; `fixed` of them are held from the first."""
    matrix, step = information.copy(), np.empty(4)
    for i in range(4):
        step[i] = -gradient[i]
        stuck = (theta[i] <= _LOW[i] and gradient[i] > 0.0) or (theta[i] >= _HIGH[i] and gradient[i] < 0.0)
        if i < fixed or stuck or not matrix[i, i] > 0.0:
            matrix[i, :] = 0.0
            matrix[:, i] = 0.0
            matrix[i, i], step[i] = 1.0, 0.0
        matrix[i, i] *= 1.0 + damping
    for i in range(4):  # Cholesky in place, then forward and backward
        for j in range(i + 1):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = math.sqrt(max(matrix[i, i], 1e-300)) if i == j else matrix[i, j] / matrix[j, j]
        for k in range(i):
            step[i] -= matrix[i, k] * step[k]
        step[i] /= matrix[i, i]
    for i in range(3, -1, -1):
        for k in range(i + 1, 4):
            step[i] -= matrix[k, i] * step[k]
        step[i] /= matrix[i, i]
    for i in range(4):
        step[i] = min(max(theta[i] + step[i], _LOW[i]), _HIGH[i]) - theta[i]
    return step


@numba.njit(cache=True)
def maximise(returns: FloatArray, start: float, constant: bool, max_iterations: int) -> tuple[FloatArray, float, bool]:
    """The best theta, its log-likelihood, and whether the search that found it converged.

    `returns` is (n,) and of unit variance; `constant` says whether mu is free or zero. Where hardly anything moves the
    variance, a maximum with shocks that never fade may lie a hair above one with shocks that do: the latter is taken.
    """
    begins = starts(returns, returns.mean() if constant else 0.0, start)
    best, most, converged = begins[0], -np.inf, False
    fades = False
    for begin in begins:
        theta, found, ended = _climb(returns, begin, start, constant, max_iterations)
        better = found > most if (theta[3] < NEAR_UNIT_ROOT) == fades else not fades
        if better:
            best, most, converged, fades = theta, found, ended, theta[3] < NEAR_UNIT_ROOT
    return best, most, converged


@numba.njit(cache=True)
def _climb(
    returns: FloatArray, begin: FloatArray, start: float, constant: bool, max_iterations: int
) -> tuple[FloatArray, float, bool]:
    """One search."""
    fixed = 0 if constant else 1
    theta, ahead = begin.copy(), np.empty(4)
    value = negative_loglikelihood(returns, theta, start)
    gradient, information = np.empty(4), np.empty((4, 4))
    damping = 1e-3
    score(returns, theta, start, gradient, information)
    for _ in range(max_iterations):
        step = _step(theta, gradient, information, damping, fixed)
        for i in range(4):
            ahead[i] = theta[i] + step[i]
        tried = negative_loglikelihood(returns, ahead, start)
        gain, promised = value - tried, _promised(step, gradient, information)
        if gain > 0.0:
            theta, ahead = ahead, theta
            value = tried
            if gain < CONVERGED:
                return theta, -value, True
            score(returns, theta, start, gradient, information)
            damping *= max(0.1, 1.0 - (2.0 * gain / promised - 1.0) ** 3)
        elif damping > _MAX_DAMPING:
            return theta, -value, True
        else:
            damping *= 10.0
    return theta, -value, False


@numba.njit(cache=True)
def _promised(step: FloatArray, gradient: FloatArray, information: FloatArray) -> float:
    """The gain of a step if the information were the curvature."""
    total = 0.0
    for i in range(4):
        total -= step[i] * gradient[i]
        for j in range(4):
            total -= 0.5 * step[i] * information[i, j] * step[j]
    return max(total, 1e-300)
