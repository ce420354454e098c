"""Tier 3: features to probabilities. Importing this package is cheap; torch loads with the first model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tiers.contracts import FloatArray

if TYPE_CHECKING:
    from tiers.predict.artefact import Predictor

VERSION = "1.0.0"

__all__ = ["VERSION", "load", "run"]


def load(folder: Path) -> Predictor:
    """The model in a folder; `ModelMissing` where a file is missing, damaged or edited."""
    from tiers.predict import artefact  # noqa: PLC0415 - torch loads only where models run

    return artefact.load(folder)


def run(predictor: Predictor, features: FloatArray) -> FloatArray:
    """Probabilities (n_bars, n_symbols, 3) of sell, hold, buy from features (n_bars, n_symbols, n_features).

    Rows are NaN where the predictor's last `receptive_bars` own rows are not complete.
    """
    return predictor.probabilities(features)
