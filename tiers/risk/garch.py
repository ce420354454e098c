"""GARCH(1,1): r_t = mu + e_t, h_t = omega + alpha e_{t-1}^2 + beta h_{t-1} (Bollerslev, 1986).

Fit and filter are compiled. Both begin with pre-sample e_0^2 = h_0 = the window's sample variance, the convention of
Fiorentini, Calzolari and Panattoni (1996), so the filter equals the conditional variance of `arch`, the tests' oracle.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import MutableMapping
from dataclasses import dataclass

import numba
import numpy as np

from tiers.contracts import FloatArray
from tiers.risk import garch_fit
from tiers.risk.garch_fit import NEAR_UNIT_ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class GarchFit:
    """Fitted parameters in units of the returns themselves (not per cent)."""

    mu: float
    omega: float
    alpha: float
    beta: float
    loglikelihood: float

    @property
    def parameters(self) -> tuple[float, float, float, float]:
        return self.mu, self.omega, self.alpha, self.beta

    @property
    def persistence(self) -> float:
        """How much of a shock to the variance is left one bar later."""
        return self.alpha + self.beta


FitCache = MutableMapping[str, GarchFit | None]


def is_stationary(fit: GarchFit) -> bool:
    """Whether the parameters are finite, give positive variances, and let shocks fade."""
    finite = all(math.isfinite(value) for value in fit.parameters)
    return finite and fit.omega > 0 and fit.alpha >= 0 and fit.beta >= 0 and fit.persistence < NEAR_UNIT_ROOT


@numba.njit(cache=True)
def start_variance(returns: FloatArray, mean: bool) -> float:
    """Variance of (n,) returns around their mean (`mean`) or around zero, divided by n."""
    centre = 0.0
    if mean:
        for value in returns:
            centre += value
        centre /= len(returns)
    total = 0.0
    for value in returns:
        total += (value - centre) ** 2
    return total / len(returns)


@numba.njit(cache=True)
def filter_variance(returns: FloatArray, parameters: tuple[float, float, float, float], start: float) -> FloatArray:
    """Next-bar variance after each of (n,) returns: element k is known at bar k and holds for bar k+1.

    `parameters` are mu, omega, alpha, beta; `start` is the pre-sample variance.
    """
    mu, omega, alpha, beta = parameters
    out = np.empty(len(returns))
    variance = omega + (alpha + beta) * start
    for k in range(len(returns)):
        variance = omega + alpha * (returns[k] - mu) ** 2 + beta * variance
        out[k] = variance
    return out


def fit(returns: FloatArray, *, mean: str = "constant") -> GarchFit | None:
    """Maximum-likelihood GARCH(1,1) with normal errors, the same whatever was fitted before.

    `returns` is (n,) per bar, without NaN; `mean` is "constant" or "zero". The returns are scaled to unit
    variance for the optimiser (at any bar length this is better conditioned than per cent) and the parameters
    scaled back. None where the search does not converge, the result is not stationary, or nothing moves.
    """
    scale = math.sqrt(start_variance(returns, mean=True)) if len(returns) else 0.0
    # Below a relative 1e-12 the "variance" is rounding noise of equal values.
    if not math.isfinite(scale) or scale <= 1e-12 * float(np.max(np.abs(returns), initial=1e-30)):
        return None
    unit, constant = returns / scale, mean == "constant"
    start = start_variance(unit, mean=constant)
    theta, loglikelihood, converged = garch_fit.maximise(unit, start, constant, garch_fit.MAX_ITERATIONS)
    if not converged:
        return None
    mu, omega, share, persistence = theta.tolist()
    found = GarchFit(
        mu=mu,
        omega=omega,
        alpha=share * persistence,
        beta=(1.0 - share) * persistence,
        loglikelihood=loglikelihood,
    )
    scaled = _rescaled(found, scale, len(returns))
    return scaled if is_stationary(scaled) else None


def _rescaled(unit: GarchFit, scale: float, n: int) -> GarchFit:
    return GarchFit(
        mu=unit.mu * scale,
        omega=unit.omega * scale**2,
        alpha=unit.alpha,
        beta=unit.beta,
        loglikelihood=unit.loglikelihood - n * math.log(scale),
    )


def fit_cached(returns: FloatArray, *, mean: str, cache: FitCache | None) -> GarchFit | None:
    """`fit`, remembered in `cache` under a digest of the window's bytes and the model's form."""
    if cache is None:
        return fit(returns, mean=mean)
    key = hashlib.blake2b(returns.tobytes() + mean.encode(), digest_size=16).hexdigest()
    if key not in cache:
        cache[key] = fit(returns, mean=mean)
    return cache[key]
