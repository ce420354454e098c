"""A loaded model: each symbol on its own rows, nothing from later rows, and torch only where a model is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tiers.predict import VERSION, artefact, run
from tiers.predict.artefact import Card, Predictor
from tiers.predict.network import CausalNetwork, preset

N_FEATURES = 6
RNG = np.random.default_rng(4)


def weights(seed: int = 1) -> bytes:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CausalNetwork(preset("compact"), N_FEATURES)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return artefact.weights_bytes(network.state_dict())


def card(data: bytes) -> Card:
    return Card(
        name="compact-1d-test",
        preset="compact",
        feature_set="test-v1",
        feature_version="1.0.0",
        feature_names=[f"f{i}" for i in range(N_FEATURES)],
        mean=[0.1] * N_FEATURES,
        scale=[1.3] * N_FEATURES,
        prior=[0.3, 0.4, 0.3],
        temperature=2.0,
        receptive_bars=31,
        horizon_bars=5,
        theta=0.5,
        seed=7,
        timeframe="1d",
        symbols=["AAPL", "IBM"],
        trained_from="2001-01-02T21:00:00+00:00",
        trained_to="2009-12-31T21:00:00+00:00",
        n_rows=1000,
        data_sha256="0" * 64,
        weights_sha256=artefact.digest(data),
        code_version="test",
        params={"theta": 0.5},
        metrics={"model": {"ic": None, "log_loss": 1.08}},
        folds=[],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = weights()
    artefact.save(tmp_path / "model", card(data), data)
    return tmp_path / "model"


@pytest.fixture
def predictor(folder: Path) -> Predictor:
    return artefact.load(folder)


def features(n_bars: int, n_symbols: int = 3) -> np.ndarray:
    return np.random.default_rng(n_bars).normal(size=(n_bars, n_symbols, N_FEATURES))


def test_one_symbol_alone_equals_it_among_many(predictor: Predictor):
    values = features(80, 5)
    together = predictor.probabilities(values)
    np.testing.assert_allclose(predictor.probabilities(values[:, 3:4])[:, 0], together[:, 3], rtol=0, atol=1e-12)


def test_missing_feature_silences_its_symbol_until_it_has_left_the_window(predictor: Predictor):
    values = features(100)
    whole = predictor.probabilities(values)
    values[40, 1, 2] = np.nan
    holed = predictor.probabilities(values)
    assert np.isnan(holed[40:71, 1]).all()
    np.testing.assert_array_equal(holed[71:, 1], whole[71:, 1])
    np.testing.assert_array_equal(holed[:, 0], whole[:, 0])


def test_bars_that_a_symbol_does_not_have_are_skipped(predictor: Predictor):
    values = features(90, 2)
    values[[35, 36, 60], 0] = np.nan
    own = np.setdiff1d(np.arange(90), [35, 36, 60])
    probability = predictor.probabilities(values)
    assert np.isnan(probability[[35, 36, 60], 0]).all()
    alone = predictor.probabilities(values[own, :1])
    np.testing.assert_allclose(probability[own, 0], alone[:, 0], rtol=0, atol=1e-12)


def test_shock_after_a_row_changes_nothing_at_or_before_it(predictor: Predictor):
    values = features(120)
    shocked = values.copy()
    shocked[70:] += 100.0
    np.testing.assert_allclose(
        predictor.probabilities(shocked)[:70], predictor.probabilities(values)[:70], rtol=0, atol=1e-12
    )


def test_stage_is_a_version_and_one_function(predictor: Predictor):
    values = features(40)
    assert VERSION == "1.0.0"
    np.testing.assert_array_equal(run(predictor, values), predictor.probabilities(values))


def test_importing_the_stage_does_not_import_torch():
    code = "import sys, tiers.predict; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loading_draws_no_random_numbers(folder: Path):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    artefact.load(folder)
    assert torch.equal(torch.rand(2), expected)


def test_card_without_a_hold_out_says_so():
    assert card(weights()).holdout_from is None
    assert replace(card(weights()), holdout_from="2010-01-04T21:00:00+00:00").to_json()["holdout_from"][:4] == "2010"


def test_features_that_the_training_did_not_have_are_not_looked_at() -> None:
    data = weights()
    made = card(data)
    network = CausalNetwork(preset("compact"), N_FEATURES)
    whole = Predictor(replace(made, mean=[0.0] * N_FEATURES), network)
    blind = Predictor(replace(whole.card, params={"absent_features": ["f2", "f5"]}), network)
    rows = RNG.normal(size=(60, 2, N_FEATURES))
    rows[20, 1] = np.nan  # no bar
    lacking, zero = rows.copy(), rows.copy()
    lacking[:, :, [2, 5]] = np.nan
    zero[:, :, [2, 5]] = np.where(np.isnan(rows[:, :, [2, 5]]), np.nan, 0.0)
    said = blind.probabilities(lacking)
    assert np.isfinite(said[30:, 0]).all()
    assert np.isnan(said[20, 1]).all()
    np.testing.assert_array_equal(said, blind.probabilities(rows))
    np.testing.assert_array_equal(said, whole.probabilities(zero))
    assert np.isnan(whole.probabilities(lacking)).all()
