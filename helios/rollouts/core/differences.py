"""How the challenger did beside the champion: paired by bar and symbol where both spoke there.

In replay and shadow every decision has its twin in the other arm, so that what the market did to both drops out, and so
has every forecast in a live step. There the arms hold different symbols: their PnL is compared as two independent
samples, as is whatever has no pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from helios.rollouts.core.measures import ArmMeasures, Place
from helios.rollouts.core.statistics import (
    CONFIDENCE,
    Interval,
    batch_means_interval,
    bootstrap_interval,
    welch_interval,
)

MAX_RESAMPLED: Final = 20_000  # values an arm up to which a mean is resampled; above, Welch's interval serves


@dataclass(frozen=True, slots=True)
class Difference:
    """Challenger less champion in the mean, and how many bars (paired) or decisions say so."""

    interval: Interval
    n: int


def pnl(champion: ArmMeasures, challenger: ArmMeasures, *, confidence: float = CONFIDENCE) -> Difference:
    """In bps of equity a decision, net of costs. ValueError where an arm has fewer than two."""
    a, b = champion.pnl_bps, challenger.pnl_bps
    pairs = _paired(a, champion.pnl_of, b, challenger.pnl_of)
    if len(pairs) > 1:
        return Difference(batch_means_interval(pairs, confidence=confidence), len(pairs))
    return Difference(welch_interval(a, b, confidence=confidence), min(len(a), len(b)))


def log_loss(
    champion: ArmMeasures, challenger: ArmMeasures, *, confidence: float = CONFIDENCE, seed: int = 0
) -> Difference:
    """In nats a forecast. ValueError where an arm has fewer than two."""
    a, b = champion.losses, challenger.losses
    pairs = _paired(a, champion.losses_of, b, challenger.losses_of)
    if len(pairs) > 1:
        return Difference(batch_means_interval(pairs, confidence=confidence), len(pairs))
    if max(len(a), len(b)) > MAX_RESAMPLED:
        return Difference(welch_interval(a, b, confidence=confidence), min(len(a), len(b)))
    return Difference(bootstrap_interval(a, b, seed=seed, confidence=confidence), min(len(a), len(b)))


def _paired(a: Sequence[float], a_of: Sequence[Place], b: Sequence[float], b_of: Sequence[Place]) -> list[float]:
    """The mean over symbols of b less a at each bar, in their order; empty where the arms share none."""
    other = dict(zip(b_of, b, strict=True)) if b_of else {}
    bars: dict[int, list[float]] = {}
    for place, value in zip(a_of, a, strict=False):
        if place in other:
            bars.setdefault(place[0], []).append(other[place] - value)
    return [sum(values) / len(values) for values in bars.values()]
