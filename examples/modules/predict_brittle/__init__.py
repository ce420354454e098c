"""A faulty challenger for the predict tier, of the kind that passes its tests.

Its author wanted to be told of broken feeds and refuses a window in which some feature never moves. In the gate tests
every feature moves. In a book of daily bars the hour of the day does not, and it fails at its first real question.
`docs/stories.md` shows how its rollout ends by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tiers.predict import load

VERSION = "1.2.0"
ENOUGH_BARS = 16

__all__ = ["VERSION", "load", "run"]


def run(predictor: Any, features: Any) -> Any:
    """Probabilities (n_bars, n_symbols, 3) of sell, hold, buy; `ValueError` where a feature stands still."""
    if len(features) >= ENOUGH_BARS:
        spread = np.fmax.reduce(features) - np.fmin.reduce(features)  # (n_symbols, n_features), NaN where unknown
        still = int((spread == 0.0).sum())
        if still:
            raise ValueError(f"every feature must move within {len(features)} bars, {still} stood still")
    return predictor.probabilities(features)
