"""From the network's balanced evidence to probabilities that mean what they say.

The network is trained with every class weighted equally, so its logits are evidence free of how common a class
is; the class frequencies of the training part are added back, and one temperature scales the evidence:
softmax(ln prior + logits / T). With T growing the forecast tends to the class frequencies, never to a third each.
Source: temperature scaling, Guo, Pleiss, Sun, Weinberger 2017; prior correction, Saerens et al. 2002.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiers.contracts import FloatArray

# Evidence worth less than a hundredth is noise; more than four times itself would be blind trust.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.25, 100.0
_AT = 1e-4  # of a bound: the search ends nearer
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_STEPS = 36  # the golden section to the 36th of ln(400) is below 1e-6
PROBABILITY_FLOOR = 1e-12


def probabilities(logits: FloatArray, *, prior: FloatArray, temperature: float) -> FloatArray:
    """(..., 3) probabilities from (..., 3) logits and (3,) class frequencies; rows sum to 1, NaN stays NaN."""
    score = np.log(np.maximum(prior, PROBABILITY_FLOOR)) + logits / temperature
    weight = np.exp(score - score.max(axis=-1, keepdims=True))
    total: FloatArray = weight / weight.sum(axis=-1, keepdims=True)
    return total


def at_bound(temperature: float) -> str:
    """A sentence where a temperature ended on a bound of its search, so that it is no optimum; empty elsewhere."""
    if temperature >= MAX_TEMPERATURE * (1.0 - _AT):
        what = (
            f"upper bound {MAX_TEMPERATURE:g}: on the validating bars the network knew no more than class frequencies"
        )
    elif temperature <= MIN_TEMPERATURE * (1.0 + _AT):
        what = f"lower bound {MIN_TEMPERATURE:g}: the network is too unsure of itself, or those bars are too few"
    else:
        return ""
    return f"The temperature ended at its {what}."


def log_loss(probability: FloatArray, outcome: npt.NDArray[np.int8]) -> float:
    """Mean of -ln p(what happened), nats; probability (n, 3), outcome (n,); NaN without samples."""
    if not len(outcome):
        return float("nan")
    chosen = probability[np.arange(len(outcome)), outcome]
    return float(-np.log(np.maximum(chosen, PROBABILITY_FLOOR)).mean())


def fit_temperature(logits: FloatArray, outcome: npt.NDArray[np.int8], *, prior: FloatArray) -> float:
    """The temperature of least log loss on (n, 3) logits and (n,) outcomes; 1 without samples.

    The loss is convex in 1 / T, so golden-section search over ln T finds its only minimum.
    """
    if not len(outcome):
        return 1.0

    def loss(log_temperature: float) -> float:
        return log_loss(probabilities(logits, prior=prior, temperature=np.exp(log_temperature)), outcome)

    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    for _ in range(_STEPS):
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN * (high - low)
            loss_right = loss(right)
    return float(np.exp((low + high) / 2.0))
