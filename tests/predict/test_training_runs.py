"""Training: finds what is there, claims nothing where nothing is, and gives equal bits twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.predict.worlds import QUICK, world
from tiers.errors import DataError
from tiers.predict import fitting, splits
from tiers.predict.network import threads
from tiers.predict.train import Trained, _Task, forecast, train


@pytest.fixture(scope="module")
def telling() -> Trained:
    features, close = world(telling=1.5)
    with threads(1):
        return train(features, close, params=QUICK, seed=7)


def test_feature_that_tells_the_future_is_found(telling: Trained):
    model, baseline, persistence = (telling.metrics[name] for name in ("model", "baseline", "persistence"))
    assert model["ic"] > 0.4
    assert model["log_loss"] < baseline["log_loss"] - 0.05
    assert model["brier"] < baseline["brier"]
    assert model["hit_rate"] > 0.65
    assert model["balanced_accuracy"] > max(baseline["balanced_accuracy"], persistence["balanced_accuracy"])
    assert model["n_samples"] == sum(fold.n_test for fold in telling.folds)


def test_naive_forecasts_are_what_they_say(telling: Trained):
    assert telling.metrics["baseline"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert telling.metrics["baseline"]["ic"] is None
    assert telling.metrics["persistence"]["n_calls"] > 0


def test_folds_lie_one_behind_the_other_and_state_their_sizes(telling: Trained):
    first, second = telling.folds
    assert first.end <= second.start
    assert first.n_train < second.n_train
    assert min(first.n_validation, first.n_test, first.epochs) > 0
    assert first.log_loss < first.baseline_log_loss


def test_noise_is_not_sold_as_knowledge():
    features, close = world(seed=3)
    with threads(1):
        metrics = train(features, close, params=QUICK, seed=7).metrics
    assert abs(metrics["model"]["ic"]) < 0.2
    assert metrics["model"]["log_loss"] < metrics["baseline"]["log_loss"] + 0.03


def test_same_seed_gives_the_same_bits_and_another_seed_does_not():
    features, close = world(telling=0.5)

    def weights(seed: int) -> dict[str, torch.Tensor]:
        with threads(1):
            return train(features, close, params=QUICK, seed=seed).model.weights

    one, again, other = weights(7), weights(7), weights(8)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_training_leaves_torch_as_it_found_it():
    features, close = world()
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    train(features, close, params=replace(QUICK, n_folds=1, fit=fitting.FitParams(max_epochs=1)), seed=7)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_nothing_from_the_test_window_on_reaches_the_model_that_is_tested_there():
    features, close = world(telling=1.0)
    task = _Task.of(features, close, params=QUICK, seed=7)
    window = task.splits(len(close))[0][0]
    start = int(np.flatnonzero(window.test.any(axis=1))[0])
    shocked_features, shocked_close = features.copy(), close.copy()
    shocked_features[start:] = -9.0 * shocked_features[start:] + 100.0
    shocked_close[start:] *= np.exp(np.random.default_rng(1).normal(0, 0.5, shocked_close[start:].shape))
    shocked = _Task.of(shocked_features, shocked_close, params=QUICK, seed=7)
    with threads(1):
        before = task.fit(window, lambda *_: None)
        after = shocked.fit(shocked.splits(len(close))[0][0], lambda *_: None)
    assert all(torch.equal(before.weights[name], after.weights[name]) for name in before.weights)
    assert before.temperature == after.temperature
    np.testing.assert_array_equal(before.mean, after.mean)
    np.testing.assert_array_equal(before.prior, after.prior)


def test_samples_are_labelled_complete_and_within_their_part():
    features, close = world()
    features[100, 0, 1] = np.nan
    task = _Task.of(features, close, params=QUICK, seed=7)
    everything = splits.Split(*(np.ones(close.shape, dtype=bool),) * 3) if False else np.ones(close.shape, dtype=bool)
    samples = task.samples(everything)
    assert not samples[100:131, 0].any()
    assert samples[131, 0]
    assert samples[100:131, 1].all()
    assert not samples[:40].any()  # ten rows of warm-up and thirty before the field is full
    assert not samples[-5:].any()


def test_symbols_with_gaps_and_late_listing_train_too():
    features, close = world(telling=1.5)
    features[:200, 1], close[:200, 1] = np.nan, np.nan
    features[500:505, 0], close[500:505, 0] = np.nan, np.nan
    with threads(1):
        trained = train(features, close, params=QUICK, seed=7)
    assert trained.metrics["model"]["ic"] > 0.3


def test_final_model_sees_more_than_any_fold_and_keeps_a_validation_part(telling: Trained):
    assert telling.n_rows > max(fold.n_train + fold.n_validation for fold in telling.folds)


def test_forecast_of_the_fitted_model_sums_to_one(telling: Trained):
    features, _ = world(n_bars=60, seed=5)
    probability = forecast(telling.model, np.nan_to_num(features))
    assert np.isnan(probability[:30]).all()
    np.testing.assert_allclose(probability[30:].sum(axis=2), 1.0, atol=1e-12)


def test_progress_counts_up_to_no_more_than_the_total():
    seen: list[tuple[int, int, str]] = []
    features, close = world()
    train(features, close, params=QUICK, seed=7, progress=lambda *step: seen.append(step))
    done = [step for step, _, _ in seen]
    assert done == sorted(done)
    assert done[-1] <= seen[-1][1] == 3 * QUICK.fit.max_epochs
    assert "final model" in seen[-1][2]


def test_training_stops_early_when_validation_gets_no_better():
    features, close = world(seed=3)
    epochs: list[int] = []
    params = replace(QUICK, n_folds=1, fit=fitting.FitParams(max_epochs=30, patience=2, segment_bars=64))
    train(features, close, params=params, seed=7, progress=lambda done, *_: epochs.append(done))
    assert len(epochs) < 60


def test_constant_feature_is_left_at_scale_one():
    values = np.random.default_rng(1).normal(size=(50, 2, 3))
    values[..., 1] = 4.0
    mean, scale = fitting.normalisation(values, np.ones((50, 2), dtype=bool))
    assert mean[1] == 4.0
    assert scale[1] == 1.0
    assert scale[0] == pytest.approx(values[..., 0].std())


@pytest.mark.parametrize("n_bars", [0, 12, 60, 150])
def test_too_little_data_is_refused_before_any_work(n_bars: int):
    features, close = world(n_bars=max(n_bars, 10))
    steps: list[object] = []
    with pytest.raises(DataError, match="training needs at least|test windows need"):
        train(features[:n_bars], close[:n_bars], params=QUICK, seed=7, progress=lambda *step: steps.append(step))
    assert not steps


def test_features_and_closes_of_different_shapes_are_refused():
    features, close = world()
    with pytest.raises(ValueError, match="features must be"):
        train(features[1:], close, params=QUICK, seed=7)


def test_bigger_preset_trains_by_the_same_path():
    features, close = world(n_bars=1200, n_symbols=1, telling=1.5)
    params = replace(QUICK, preset="base", n_folds=1, fit=fitting.FitParams(max_epochs=1, segment_bars=128))
    with threads(1):
        trained = train(features, close, params=params, seed=7)
    assert trained.model.config.receptive_bars == 127
    assert trained.metrics["model"]["log_loss"] < 1.2
