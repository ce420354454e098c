"""A predictor for code under test: a real one, untrained, with random weights from a seed."""

from __future__ import annotations

import numpy as np
import torch

from tiers.contracts import FloatArray
from tiers.gates.samples import HORIZON_BARS, SYMBOLS
from tiers.predict.artefact import Card, Predictor
from tiers.predict.network import CausalNetwork, preset

PRESET = "compact"
N_FEATURES = 52
RECEPTIVE = preset(PRESET).receptive_bars


def predictor(seed: int) -> Predictor:
    """A predictor of the compact preset whose probabilities depend on its whole input."""
    generator = torch.Generator().manual_seed(seed)
    network = CausalNetwork(preset(PRESET), N_FEATURES)
    with torch.no_grad():
        for weights in network.parameters():  # an untrained head is zero, and initialisation draws at large
            weights.copy_(torch.randn(weights.shape, generator=generator) * 0.2)
    return Predictor(_card(seed), network)


def features(seed: int, *, n_bars: int = 80, n_symbols: int = 3) -> FloatArray:
    """Complete features, (n_bars, n_symbols, n_features), with little more than twice the receptive rows."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.standard_normal((n_bars, n_symbols, N_FEATURES)))


def _card(seed: int) -> Card:
    return Card(
        name="gate",
        preset=PRESET,
        feature_set="gate",
        feature_version="1.0.0",
        feature_names=[f"column_{place}" for place in range(N_FEATURES)],
        mean=[0.0] * N_FEATURES,
        scale=[1.0] * N_FEATURES,
        prior=[0.3, 0.4, 0.3],
        temperature=1.0,
        receptive_bars=RECEPTIVE,
        horizon_bars=HORIZON_BARS,
        theta=0.5,
        seed=seed,
        timeframe="1h",
        symbols=list(SYMBOLS),
        trained_from="2020-01-01T00:00:00+00:00",
        trained_to="2021-01-01T00:00:00+00:00",
        n_rows=0,
        data_sha256="",
        weights_sha256="",
        code_version="gate",
        params={},
        metrics={},
        folds=[],
    )
