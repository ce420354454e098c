"""A challenger for the predict tier: the model's own probabilities, drawn a little towards indifference.

Networks tend to be surer than they are right; a temperature above one softens them without changing which class
leads (Guo et al. 2017, "On Calibration of Modern Neural Networks").
"""

from __future__ import annotations

from typing import Any

from examples.modules.predict_tempered.temperature import soften
from tiers.predict import load

VERSION = "1.1.0"
TEMPERATURE = 1.05

__all__ = ["VERSION", "load", "run"]


def run(predictor: Any, features: Any) -> Any:
    """Probabilities (n_bars, n_symbols, 3) of sell, hold, buy; NaN where the model says NaN."""
    return soften(predictor.probabilities(features), TEMPERATURE)
