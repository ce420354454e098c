"""Small networks, cards and markets for the tests of the prediction stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tiers.contracts import FloatArray
from tiers.features import catalog
from tiers.predict import artefact
from tiers.predict.artefact import Card
from tiers.predict.fitting import FitParams
from tiers.predict.network import CausalNetwork, NetworkConfig, preset
from tiers.predict.train import TrainParams
from trading.registry import write

RECEPTIVE = preset("compact").receptive_bars
QUICK = TrainParams(
    horizon_bars=3,
    n_folds=2,
    fit=FitParams(max_epochs=6, segment_bars=32, batch=4, learning_rate=5e-3),
)


def network(n_features: int, *, seed: int = 3, config: NetworkConfig | None = None) -> CausalNetwork:
    """A network in float64 whose head speaks: as it comes from initialisation it says nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = CausalNetwork(config or preset("compact"), n_features)
        with torch.no_grad():
            for weight in made.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return made.double().eval()


def card(weights: bytes, *, names: tuple[str, ...] = catalog.NAMES, **changes: object) -> Card:
    n_features = len(names)
    made = Card(
        name="compact-test",
        preset="compact",
        feature_set=catalog.FEATURE_SET,
        feature_version=catalog.SET_VERSION,
        feature_names=list(names),
        mean=[0.1] * n_features,
        scale=[1.5] * n_features,
        prior=[0.3, 0.4, 0.3],
        temperature=1.7,
        receptive_bars=RECEPTIVE,
        horizon_bars=5,
        theta=0.5,
        seed=3,
        timeframe="1d",
        symbols=["AAA", "BBB"],
        trained_from="2020-01-02T21:00:00+00:00",
        trained_to="2021-01-04T21:00:00+00:00",
        n_rows=500,
        data_sha256="d" * 64,
        weights_sha256=artefact.digest(weights),
        code_version="test",
        params={},
        metrics={"model": {"log_loss": 1.0}},
        folds=[],
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def save_model(folder: Path, *, seed: int = 3, names: tuple[str, ...] = catalog.NAMES, **changes: object) -> Card:
    """Write a whole model into `folder`; another seed gives other weights."""
    made = network(len(names), seed=seed).float()
    weights = artefact.weights_bytes(made.state_dict())
    written = card(weights, names=names, seed=seed, **changes)
    artefact.save(folder, written, weights)
    return written


def serve(root: Path, *symbols: str, name: str, **changes: object) -> None:
    """Put an untrained network that has opinions and likes to buy in charge of these symbols; `root` is `VAR_DIR`."""
    leans = {"params": {"volatility_bars": 20}, "prior": [0.1, 0.2, 0.7], "symbols": [*symbols]}
    made = save_model(root / name, name=name, **{**leans, **changes})
    write.register_model(made.to_json(), path=name, role="champion")


def learnable(n_bars: int, n_symbols: int = 2, *, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Features and closes of a market whose drift is its first feature; the other two features are noise."""
    rng = np.random.default_rng(seed)
    drift = np.zeros((n_bars, n_symbols))
    for row in range(1, n_bars):
        drift[row] = 0.9 * drift[row - 1] + rng.normal(0, 0.4, n_symbols)
    move = rng.normal(0, 0.006, drift.shape)
    move[1:] += 0.012 * drift[:-1]
    noise = rng.normal(size=(n_bars, n_symbols, 2))
    return np.concatenate([drift[:, :, None], noise], axis=2), 100 * np.exp(np.cumsum(move, axis=0))
