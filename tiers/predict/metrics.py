"""Out-of-sample figures of forecasts, and the naive forecasts they have to beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiers.contracts import BUY, HOLD, SELL, FloatArray
from tiers.predict.calibration import log_loss

ForecastMetrics = dict[str, float | None]
OutcomeArray = npt.NDArray[np.int8]
LABELS = {
    "log_loss": "log loss, less is better",
    "brier": "Brier score, less is better",
    "calibration_error": "calibration error, less is better",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "hit_rate": "BUY and SELL calls that were right",
    "always_up": "of these, moves that were up",
    "n_calls": "BUY and SELL calls",
    "ic": "rank correlation with the move",
    "n_samples": "forecasts judged",
    "model": "model",
    "baseline": "class frequencies",
    "persistence": "last move again",
}  # for people: of the figures, and of whose forecasts they are


def forecast_metrics(probability: FloatArray, outcome: OutcomeArray, forward: FloatArray) -> ForecastMetrics:
    """How good (n, 3) probabilities were for (n,) outcomes and (n,) forward moves in volatilities.

    log_loss (nats), brier (0 to 2), accuracy, balanced_accuracy (mean recall of the classes that occurred),
    hit_rate (share of BUY and SELL calls whose move had the called sign) with n_calls and always_up (the share of them
    whose move was up), ic (rank correlation of
    p(buy) - p(sell) with the move), calibration_error (of the likeliest class, ten bins; Guo et al. 2017).
    None where a figure is not defined.
    """
    call = probability.argmax(axis=1)
    happened = np.eye(3)[outcome]
    result = {
        "log_loss": log_loss(probability, outcome),
        "brier": float(((probability - happened) ** 2).sum(axis=1).mean()) if len(outcome) else float("nan"),
        "calibration_error": calibration_error(probability, outcome),
        **call_metrics(call, outcome, forward),
        "ic": rank_correlation(probability[:, BUY] - probability[:, SELL], forward),
    }
    return {name: value if np.isfinite(value) else None for name, value in result.items()}


def call_metrics(call: npt.NDArray[np.int64], outcome: OutcomeArray, forward: FloatArray) -> dict[str, float]:
    """The figures that need only the called class, (n,) each."""
    if not len(outcome):
        names = ("accuracy", "balanced_accuracy", "hit_rate", "always_up", "n_calls")
        return dict.fromkeys(names, float("nan"))
    recalls = [float((call[outcome == kind] == kind).mean()) for kind in range(3) if (outcome == kind).any()]
    made = call != HOLD
    right = np.where(call == BUY, forward > 0, forward < 0)[made]
    return {
        "accuracy": float((call == outcome).mean()),
        "balanced_accuracy": float(np.mean(recalls)),
        "hit_rate": float(right.mean()) if made.any() else float("nan"),
        "always_up": float((forward[made] > 0).mean()) if made.any() else float("nan"),
        "n_calls": float(made.sum()),
    }


def calibration_error(probability: FloatArray, outcome: OutcomeArray, *, n_bins: int = 10) -> float:
    """Mean distance of confidence and accuracy over bins of equal width, weighted by their samples."""
    if not len(outcome):
        return float("nan")
    confidence = probability.max(axis=1)
    right = probability.argmax(axis=1) == outcome
    place = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gap = np.bincount(place, weights=confidence - right, minlength=n_bins)
    return float(np.abs(gap).sum() / len(outcome))


def rank_correlation(one: FloatArray, other: FloatArray) -> float:
    """Spearman's rank correlation with ties at their mean rank; NaN without variation."""
    a, b = _ranks(one), _ranks(other)
    a, b = a - (len(a) + 1) / 2.0, b - (len(b) + 1) / 2.0  # less the mean of all ranks
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else float("nan")


def _ranks(values: FloatArray) -> FloatArray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count).astype(np.float64)
    ranks: FloatArray = (last - (count - 1) / 2.0)[place]
    return ranks


def frequencies(outcome: OutcomeArray) -> FloatArray:
    """(3,) shares of the classes with one added to each count, so that no class is impossible."""
    count = np.bincount(outcome, minlength=3) + 1.0
    share: FloatArray = count / count.sum()
    return share


def persistence(last: OutcomeArray, *, held: float) -> FloatArray:
    """Naive forecast (n, 3): the class of the last move again, with the share of times it held in training."""
    probability = np.full((len(last), 3), (1.0 - held) / 2.0)
    probability[np.arange(len(last)), last] = held
    return probability
