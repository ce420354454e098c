"""Two arms compared: means with their uncertainty, rates, and quantiles. Seeds are passed, nothing is drawn by chance.

NaN or infinity in a sample makes the result NaN; what to do about it is the caller's business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
N_RESAMPLES: Final = 2_000
_CHUNK: Final = 2_000_000  # values drawn at once


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval that covers the true value with the given confidence."""

    estimate: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """The same in another unit; below 0 the ends change places."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.estimate * factor, low, high)


_UNKNOWN: Final = Interval(math.nan, math.nan, math.nan)


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The mean of a sample: m ± t(n-1) s / sqrt(n), with t the quantile of Student's distribution.

    `values`: (n,), n at least 2, else ValueError. Source: Student, "The probable error of a mean", 1908.
    """
    sample = _sample(values)
    if not _finite(sample):
        return _UNKNOWN
    half = _t(confidence, len(sample) - 1) * float(np.std(sample, ddof=1)) / math.sqrt(len(sample))
    mean = float(np.mean(sample))
    return Interval(mean, mean - half, mean + half)


def welch_interval(a: Sequence[float], b: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """mean(b) - mean(a) of two independent samples whose variances may differ.

    d ± t(df) sqrt(va + vb), with va = s_a² / n_a, vb = s_b² / n_b and the degrees of freedom
    df = (va + vb)² / (va² / (n_a - 1) + vb² / (n_b - 1)); two constant samples give an interval of no width.
    `a`, `b`: (n,), n at least 2, else ValueError. Source: B. L. Welch, "The generalization of Student's problem
    when several different population variances are involved", Biometrika 34, 1947.
    """
    first, second = _sample(a), _sample(b)
    if not _finite(first, second):
        return _UNKNOWN
    va, vb = (float(np.var(each, ddof=1)) / len(each) for each in (first, second))
    estimate = float(np.mean(second) - np.mean(first))
    spread = va + vb
    if spread == 0:
        return Interval(estimate, estimate, estimate)
    df = spread**2 / (va**2 / (len(first) - 1) + vb**2 / (len(second) - 1))
    half = _t(confidence, df) * math.sqrt(spread)
    return Interval(estimate, estimate - half, estimate + half)


def bootstrap_interval(
    a: Sequence[float],
    b: Sequence[float],
    *,
    seed: int,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """mean(b) - mean(a) by the percentile bootstrap: for skewed samples such as log losses.

    Both samples are drawn anew with replacement `n_resamples` times; the interval lies between the quantiles
    (1 - confidence) / 2 and (1 + confidence) / 2 of the differences. `a`, `b`: (n,), n at least 2, else
    ValueError. Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    first, second = _sample(a), _sample(b)
    if not _finite(first, second):
        return _UNKNOWN
    rng = np.random.default_rng(seed)
    differences = _resampled_means(second, n_resamples, rng) - _resampled_means(first, n_resamples, rng)
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return Interval(float(np.mean(second) - np.mean(first)), float(low), float(high))


def batch_means_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """The mean of a series whose neighbours hang together, such as losses over horizons that overlap.

    The series is cut into floor(sqrt(n)) stretches of equal length; their means are taken as independent:
    m ± t(k - 1) s / sqrt(k). `values`: (n,) in the order of time, n at least 2, else ValueError. Source: method of
    batch means, B. Schmeiser, "Batch size effects in the analysis of simulation output", Operations Research 30, 1982.
    """
    sample = _sample(values)
    if not _finite(sample):
        return _UNKNOWN
    batches = np.array_split(sample, max(2, math.isqrt(len(sample))))
    around = mean_interval([float(batch.mean()) for batch in batches], confidence=confidence)
    mean = float(sample.mean())
    half = (around.high - around.low) / 2
    return Interval(mean, mean - half, mean + half)


def samples_for(interval: Interval, n: int, limit: float, *, confidence: float, power: float) -> int:
    """About how many samples show that the true value is at most `limit`, where it is 0, with that power.

    n ((z(confidence) + z(power)) se / limit)², from an interval whose ends are tests at `confidence` each.
    """
    z, more = NormalDist().inv_cdf(confidence), NormalDist().inv_cdf(power)
    error = (interval.high - interval.low) / 2 / z
    return math.ceil(n * ((z + more) * error / limit) ** 2) if limit > 0 else 0


def wilson_interval(n_hits: int, n: int, *, confidence: float = CONFIDENCE) -> Interval:
    """A rate of `n_hits` in `n`; holds for few trials and for rates near 0 or 1. No trial: all of 0..1.

    (p + z²/2n ± z sqrt(p (1 - p) / n + z²/4n²)) / (1 + z²/n), with z the normal quantile. ValueError unless
    0 <= n_hits <= n. Source: E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", JASA 22, 1927.
    """
    if not 0 <= n_hits <= n:
        raise ValueError(f"n_hits must be from 0 to n {n}, was {n_hits}")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = n_hits / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(rate, 0.0 if n_hits == 0 else low, 1.0 if n_hits == n else high)


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile of a sample, linear between order statistics; NaN for an empty one or one with NaN.

    Source: R. J. Hyndman, Y. Fan, "Sample quantiles in statistical packages", 1996, type 7.
    """
    sample = np.asarray(values, dtype=np.float64)
    return float(np.quantile(sample, q)) if len(sample) and _finite(sample) else math.nan


def _sample(values: Sequence[float]) -> FloatArray:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < 2:
        raise ValueError(f"a sample must be (n,) with n at least 2, was {sample.shape}")
    return sample


def _finite(*samples: FloatArray) -> bool:
    return all(bool(np.isfinite(sample).all()) for sample in samples)


def _t(confidence: float, df: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 - half a second at the start of every process that never asks

    return float(stdtrit(df, (1 + confidence) / 2))


def _resampled_means(sample: FloatArray, n_resamples: int, rng: np.random.Generator) -> FloatArray:
    rows = max(1, _CHUNK // len(sample))
    parts = [
        sample[rng.integers(0, len(sample), size=(min(rows, n_resamples - start), len(sample)))].mean(axis=1)
        for start in range(0, n_resamples, rows)
    ]
    return np.concatenate(parts)
