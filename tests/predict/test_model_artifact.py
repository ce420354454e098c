"""Models on disk: whole or not at all, hashed, and the same live as in batch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tiers.errors import DataError, ModelMissing
from tiers.predict import VERSION, artifact, run
from tiers.predict.artifact import Card, Predictor
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
    return artifact.weights_bytes(network.state_dict())


def card(data: bytes) -> Card:
    return Card(
        name="compact-1d-test",
        preset="compact",
        feature_set="test-v1",
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
        weights_sha256=artifact.digest(data),
        code_version="test",
        params={"theta": 0.5},
        metrics={"model": {"ic": None, "log_loss": 1.08}},
        folds=[],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = weights()
    artifact.save(tmp_path / "model", card(data), data)
    return tmp_path / "model"


@pytest.fixture
def predictor(folder: Path) -> Predictor:
    return artifact.load(folder)


def features(n_bars: int, n_symbols: int = 3) -> np.ndarray:
    return np.random.default_rng(n_bars).normal(size=(n_bars, n_symbols, N_FEATURES))


# --- saving and loading ---


def test_loaded_model_has_its_card_and_forecasts_as_before(folder: Path):
    loaded = artifact.load(folder)
    assert loaded.card == card(weights())
    assert (loaded.receptive_bars, loaded.horizon_bars) == (31, 5)
    values = features(60)
    np.testing.assert_array_equal(loaded.probabilities(values), artifact.load(folder).probabilities(values))


def test_equal_weights_give_equal_bytes():
    assert weights(3) == weights(3)
    assert weights(3) != weights(4)


def test_folder_is_replaced_whole_and_nothing_else_is_left(folder: Path):
    other = weights(2)
    artifact.save(folder, card(other), other)
    assert artifact.load(folder).card.weights_sha256 == artifact.digest(other)
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_failed_save_leaves_the_old_model_and_no_draft(folder: Path, monkeypatch: pytest.MonkeyPatch):
    other = weights(2)
    monkeypatch.setattr(Card, "to_json", lambda _: {"broken": object()})
    with pytest.raises(TypeError):
        artifact.save(folder, card(other), other)
    monkeypatch.undo()
    assert artifact.load(folder).card.weights_sha256 == artifact.digest(weights())
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_card_with_the_hash_of_other_weights_is_not_saved(tmp_path: Path):
    with pytest.raises(DataError, match="hash of its weights"):
        artifact.save(tmp_path / "model", card(weights(1)), weights(2))
    assert not list(tmp_path.iterdir())


def test_changed_weights_are_refused(folder: Path):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(ModelMissing, match="must have the hash of their card"):
        artifact.load(folder)


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
def test_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(ModelMissing, match=name):
        artifact.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}', "not json"])
def test_damaged_card_is_refused(folder: Path, text: str):
    (folder / "card.json").write_text(text)
    with pytest.raises(ModelMissing, match=r"must hold a readable card\.json"):
        artifact.load(folder)


def test_weights_that_do_not_fit_the_card_s_preset_are_refused(folder: Path):
    written = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**written, "preset": "base"}))
    with pytest.raises(ModelMissing, match="do not fit preset base"):
        artifact.load(folder)


def test_card_is_plain_json_with_hash_names_and_figures(folder: Path):
    written = json.loads((folder / "card.json").read_text())
    assert written["weights_sha256"] == artifact.digest((folder / "model.safetensors").read_bytes())
    assert written["feature_names"][0] == "f0"
    assert written["metrics"]["model"] == {"ic": None, "log_loss": 1.08}


# --- predicting ---


def test_live_window_equals_the_batch(predictor: Predictor):
    values = features(500)
    batch = predictor.probabilities(values)
    for end in (31, 32, 100, 499, 500):
        live = predictor.probabilities(values[end - 31 : end])[-1]
        np.testing.assert_allclose(live, batch[end - 1], rtol=0, atol=1e-12)


def test_one_symbol_alone_equals_it_among_many(predictor: Predictor):
    values = features(80, 5)
    together = predictor.probabilities(values)
    np.testing.assert_allclose(predictor.probabilities(values[:, 3:4])[:, 0], together[:, 3], rtol=0, atol=1e-12)


def test_warm_up_is_missing_and_known_rows_sum_to_one(predictor: Predictor):
    probability = predictor.probabilities(features(50))
    assert np.isnan(probability[:30]).all()
    np.testing.assert_allclose(probability[30:].sum(axis=2), 1.0, atol=1e-12)
    assert (probability[30:] > 0).all()


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


@pytest.mark.parametrize("n_bars", [0, 1, 30])
def test_too_short_a_window_gives_missing_rows(predictor: Predictor, n_bars: int):
    assert predictor.probabilities(features(n_bars)).shape == (n_bars, 3, 3)
    assert np.isnan(predictor.probabilities(features(n_bars))).all()


@pytest.mark.parametrize("shape", [(40, 2), (40, 2, 5)])
def test_features_of_another_set_are_refused(predictor: Predictor, shape: tuple[int, ...]):
    with pytest.raises(DataError, match=r"features must be \(n_bars, n_symbols, 6\)"):
        predictor.probabilities(np.zeros(shape))


def test_stage_is_a_version_and_one_function(predictor: Predictor):
    values = features(40)
    assert VERSION == "1.0.0"
    np.testing.assert_array_equal(run(predictor, values), predictor.probabilities(values))


def test_importing_the_stage_does_not_import_torch():
    code = "import sys, tiers.predict; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_card_without_a_hold_out_says_so():
    assert card(weights()).holdout_from is None
    assert replace(card(weights()), holdout_from="2010-01-04T21:00:00+00:00").to_json()["holdout_from"][:4] == "2010"
