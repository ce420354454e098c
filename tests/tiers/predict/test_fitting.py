"""Training finds what is there to be found, again and again the same, and refuses what is too little."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.networks import QUICK, RECEPTIVE, learnable
from tiers.contracts.errors import DataError
from tiers.predict import fitting
from tiers.predict.fitting import FitParams
from tiers.predict.network import preset, threads
from tiers.predict.packing import pack
from tiers.predict.train import Trained, forecast, train

ONE_EPOCH = replace(QUICK, n_folds=1, fit=replace(QUICK.fit, max_epochs=1))
Step = tuple[int, int, str]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """More are slower for matrices of this size, by far on a busy machine."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, np.ndarray]:
    return learnable(900)


@pytest.fixture(scope="module")
def trained(market: tuple[np.ndarray, np.ndarray]) -> tuple[Trained, list[Step]]:
    steps: list[Step] = []
    made = train(*market, params=QUICK, seed=5, progress=lambda *step: steps.append(step))
    return made, steps


def test_a_signal_that_is_there_beats_the_class_frequencies(trained: tuple[Trained, list[Step]]) -> None:
    metrics, folds = trained[0].metrics, trained[0].folds
    model, baseline = metrics["model"], metrics["baseline"]
    assert model["log_loss"] is not None
    assert baseline["log_loss"] is not None
    assert model["log_loss"] < baseline["log_loss"] - 0.05
    assert model["ic"] is not None
    assert model["ic"] > 0.3
    assert all(fold.log_loss < fold.baseline_log_loss for fold in folds)


def test_the_folds_follow_one_another_and_count_their_samples(trained: tuple[Trained, list[Step]]) -> None:
    first, second = trained[0].folds
    assert first.start == 495
    assert first.end == second.start
    assert second.n_train > first.n_train
    assert first.n_test + second.n_test == trained[0].metrics["model"]["n_samples"]
    # the horizon of 3, the warm-up of 30 rows and the purge leave out the rest of 2 symbols
    assert trained[0].n_rows < 1800 - 2 * (30 + 3)
    assert 1 <= first.epochs <= QUICK.fit.max_epochs


def test_progress_only_goes_forward(trained: tuple[Trained, list[Step]]) -> None:
    steps = trained[1]
    done = [step[0] for step in steps]
    assert done == sorted(set(done))
    assert {step[1] for step in steps} == {(QUICK.n_folds + 1) * QUICK.fit.max_epochs}
    assert done[-1] <= steps[-1][1]
    assert steps[0][2].startswith("fold 1, epoch 1, validation log loss ")
    assert steps[-1][2].startswith("final model, epoch ")


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(market: tuple[np.ndarray, np.ndarray]) -> None:
    first, again, other = (train(*market, params=ONE_EPOCH, seed=seed) for seed in (5, 5, 6))
    assert first.metrics == again.metrics
    for name, weight in first.model.weights.items():
        assert torch.equal(weight, again.model.weights[name]), name
    assert first.model.temperature == again.model.temperature
    assert any(not torch.equal(weight, other.model.weights[name]) for name, weight in first.model.weights.items())


def test_fitting_leaves_the_random_numbers_of_the_process_alone() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        fit_with(FitParams(max_epochs=1))
        assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_future_does_not_change_the_first_fold(market: tuple[np.ndarray, np.ndarray]) -> None:
    features, close = market
    whole = train(features, close, params=ONE_EPOCH, seed=5).folds[0]
    changed = features.copy(), close.copy()
    rng = np.random.default_rng(1)
    changed[0][whole.start :] += rng.normal(size=changed[0][whole.start :].shape)
    changed[1][whole.start :] *= rng.uniform(0.5, 2, changed[1][whole.start :].shape)
    after = train(*changed, params=ONE_EPOCH, seed=5).folds[0]
    assert (after.temperature, after.n_train) == (whole.temperature, whole.n_train)
    assert after.baseline_log_loss != whole.baseline_log_loss


@pytest.mark.parametrize(("n_bars", "purpose"), [(60, "to train on"), (200, "to train on"), (380, "to validate on")])
def test_too_little_data_is_refused_with_what_is_missing(n_bars: int, purpose: str) -> None:
    features, close = learnable(n_bars, 4 if purpose == "to validate on" else 1)
    params = replace(ONE_EPOCH, validation_share=0.06) if purpose == "to validate on" else ONE_EPOCH
    sentence = rf"at least \d+ complete, labelled rows {purpose}, there were \d+ in {n_bars} bars: .* bars are needed"
    with pytest.raises(DataError, match=sentence):
        train(features, close, params=params, seed=5)


@pytest.mark.parametrize(("n_symbols", "n_still", "at_most"), [(1, 0, 900), (2, 0, 900), (2, 1, 900), (1, 30, 3500)])
def test_as_many_bars_as_a_refusal_names_are_enough(n_symbols: int, n_still: int, at_most: int) -> None:
    def asked(n_bars: int) -> int:
        """How many bars a refusal asks for; 0 where there is none."""
        features, close = learnable(n_bars, n_symbols)
        if n_symbols > 1:
            close[:, :n_still] = 10.0  # without a move there is no outcome, at any bar
        elif n_still:
            close[:] = close[np.arange(n_bars) // 45 * 45]  # moves once in 45 bars: seldom a volatility of 20 bars
        try:
            train(features, close, params=ONE_EPOCH, seed=5)
        except DataError as error:
            return int(re.findall(r"about ([\d,]+) bars are needed", str(error))[0].replace(",", ""))
        return 0

    n_bars, refusals = 200, 0
    while more := asked(n_bars):  # for each part in its turn: to train, to validate and to test on
        n_bars, refusals = more, refusals + 1
    assert 0 < refusals < 4
    assert n_bars < at_most


def test_a_test_window_too_short_to_judge_is_refused() -> None:
    features, close = learnable(900, 1)
    with pytest.raises(DataError, match="at least 60 complete, labelled rows to test on"):
        train(features, close, params=replace(ONE_EPOCH, first_test_share=0.95), seed=5)


def test_features_and_closes_must_lie_on_one_timeline() -> None:
    features, close = learnable(50)
    with pytest.raises(ValueError, match=r"features must be \(n_bars, n_symbols, \.\.\.\) = \(49, 2\), were"):
        train(features, close[:-1], params=ONE_EPOCH, seed=5)


def test_gaps_and_missing_features_are_no_samples(market: tuple[np.ndarray, np.ndarray]) -> None:
    features, close = market[0].copy(), market[1].copy()
    rng = np.random.default_rng(3)
    gone = rng.random(close.shape) < 0.1
    features[gone], close[gone] = np.nan, np.nan
    features[400, :, 1] = np.nan
    made = train(features, close, params=ONE_EPOCH, seed=5)
    assert np.isfinite(made.model.mean).all()
    assert made.n_rows < (~gone).sum()
    assert all(np.isfinite(fold.log_loss) for fold in made.folds)


def test_normalisation_is_of_the_rows_that_train_and_spares_constants() -> None:
    values = np.array([[[1.0, 7.0]], [[3.0, 7.0]], [[900.0, 900.0]]])
    mean, scale = fitting.normalisation(values, np.array([[True], [True], [False]]))
    assert mean.tolist() == [2.0, 7.0]
    assert scale.tolist() == [1.0, 1.0]
    assert fitting.normalisation(values * 5, np.array([[True], [True], [False]]))[1].tolist() == [5.0, 1.0]


def fit_with(params: FitParams) -> tuple[fitting.Fitted, list[float]]:
    features, _ = learnable(400, 1)
    packed = pack(features, receptive_bars=RECEPTIVE)
    outcome = (np.random.default_rng(0).integers(0, 3, packed.ready.shape)).astype(np.int8)
    rows = np.arange(len(outcome))[:, None]
    losses: list[float] = []
    made = fitting.fit(
        packed,
        outcome,
        train=packed.ready & (rows < 300),
        validation=packed.ready & (rows >= 300),
        config=preset("compact"),
        params=params,
        seed=1,
        epoch_done=lambda _epoch, loss: losses.append(loss),
    )
    return made, losses


def test_the_best_epoch_is_kept_and_patience_ends_the_search() -> None:
    made, losses = fit_with(FitParams(max_epochs=12, patience=2, segment_bars=32, learning_rate=2e-2))
    assert made.validation_log_loss == min(losses)
    assert made.epochs == losses.index(min(losses)) + 1
    assert len(losses) == made.epochs + 2 or len(losses) == 12
    assert len(losses) < 12, "pure noise is given up early"


def test_a_forecast_is_missing_only_where_there_is_not_enough_before(
    market: tuple[np.ndarray, np.ndarray], trained: tuple[Trained, list[Step]]
) -> None:
    probability = forecast(trained[0].model, market[0][:60])
    assert np.isnan(probability[: RECEPTIVE - 1]).all()
    np.testing.assert_allclose(probability[RECEPTIVE - 1 :].sum(axis=2), 1.0)
    assert probability.dtype == np.float64
