"""Training: claims nothing where nothing is, knows nothing of its tests, and leaves the process as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.support.training import QUICK, world
from tiers.predict import fitting
from tiers.predict.network import threads
from tiers.predict.train import _Task, train


def test_noise_is_not_sold_as_knowledge():
    features, close = world(seed=3)
    with threads(1):
        metrics = train(features, close, params=QUICK, seed=7).metrics
    assert abs(metrics["model"]["ic"]) < 0.2
    assert metrics["model"]["log_loss"] < metrics["baseline"]["log_loss"] + 0.03


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
    samples = task.samples(np.ones(close.shape, dtype=bool))
    warm_up = 10  # rows without any feature are no rows of the network, so packed rows begin behind them
    assert not samples[100 - warm_up : 131 - warm_up, 0].any()
    assert samples[131 - warm_up, 0]
    assert samples[100 - warm_up : 131 - warm_up, 1].all()
    assert not samples[:30].any()
    assert samples[30].all()
    assert not samples[-5:].any()
    assert samples[-6].all()


def test_symbols_with_gaps_and_late_listing_train_too():
    features, close = world(telling=1.5)
    features[:200, 1], close[:200, 1] = np.nan, np.nan
    features[500:505, 0], close[500:505, 0] = np.nan, np.nan
    with threads(1):
        trained = train(features, close, params=QUICK, seed=7)
    assert trained.metrics["model"]["ic"] > 0.3


def test_bigger_preset_trains_by_the_same_path():
    features, close = world(n_bars=1200, n_symbols=1, telling=1.5)
    params = replace(QUICK, preset="base", n_folds=1, fit=fitting.FitParams(max_epochs=1, segment_bars=128))
    with threads(1):
        trained = train(features, close, params=params, seed=7)
    assert trained.model.config.receptive_bars == 127
    assert trained.metrics["model"]["log_loss"] < 1.2
