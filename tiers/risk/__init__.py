"""Tier 4, "Aether": volatility, sizes, leverage and limits."""

import numpy as np

from tiers.risk.limits import mean_correlations
from tiers.risk.sizing import decide as run

VERSION = "1.0.0"


def on_load() -> None:
    """Compile, or load, what numba compiles here: the first bar after a switch does not wait for it."""
    mean_correlations(np.eye(3), 2)


__all__ = ["VERSION", "on_load", "run"]
