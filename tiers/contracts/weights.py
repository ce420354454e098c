"""The grid that target weights lie on, so that live and batch agree to the last bit."""

from __future__ import annotations

import numpy as np

from tiers.contracts import FloatArray

DECIMALS = 6
_GRID = 10.0**DECIMALS
_ON_GRID = 1e-4  # of a step: 0.3 is stored as 0.29999999999999999 and must stay 0.3


def quantised(weights: FloatArray) -> FloatArray:
    """Weights rounded down to six decimals, so that rounding never breaks an upper bound."""
    out: FloatArray = np.floor(weights * _GRID + _ON_GRID) / _GRID
    return out
