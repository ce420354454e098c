"""Small worlds to train in: one where a feature tells the future, one where none does."""

from __future__ import annotations

import numpy as np

from tiers.contracts import FloatArray
from tiers.predict.fitting import FitParams
from tiers.predict.train import TrainParams

QUICK = TrainParams(n_folds=2, fit=FitParams(max_epochs=4, patience=4, segment_bars=64))


def world(
    n_bars: int = 900, n_symbols: int = 2, *, seed: int = 0, telling: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Features (n_bars, n_symbols, 4) and closes; feature 0 carries `telling` of the next five returns."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(0.0, 0.01, (n_bars, n_symbols))
    close = 100.0 * np.exp(np.cumsum(returns, axis=0))
    features = rng.normal(size=(n_bars, n_symbols, 4))
    ahead = np.zeros((n_bars, n_symbols))
    for lead in range(1, 6):
        ahead[:-lead] += returns[lead:]
    features[..., 0] += telling * ahead / 0.0224
    features[:10] = np.nan  # a warm-up
    return features, close
