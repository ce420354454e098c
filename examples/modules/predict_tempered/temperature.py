"""Temperature scaling of probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def soften(probability: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """`p ** (1 / temperature)`, scaled to sum to one along the last axis; NaN rows stay NaN.

    Raises `ValueError` for a temperature that is not above zero.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, was {temperature}")
    powered = np.power(probability, 1.0 / temperature)
    return np.asarray(powered / powered.sum(axis=-1, keepdims=True))
