"""Training: walk-forward figures first, then the model that goes into service. Arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from tiers.contracts import HOLD, BoolArray, FloatArray
from tiers.contracts.errors import DataError
from tiers.predict import calibration, labels, metrics, splits
from tiers.predict.fitting import EpochDone, FitParams, Fitted, fit
from tiers.predict.labels import Labels
from tiers.predict.metrics import ForecastMetrics, OutcomeArray
from tiers.predict.network import evaluate, preset, restored
from tiers.predict.packing import Packed, pack
from tiers.predict.splits import Split

Progress = Callable[[int, int, str], None]  # steps done, steps in all, what is being done
MIN_TRAIN, MIN_VALIDATION, MIN_TEST = 300, 60, 60


class NoSampleError(DataError):
    """Not one row of any symbol is complete and labelled: what helps depends on why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainParams:
    """What is learnt and how it is judged; bars are a symbol's own."""

    preset: str = "compact"
    horizon_bars: int = 5
    theta: float = 0.5
    volatility_bars: int = 20
    n_folds: int = 3
    first_test_share: float = 0.55
    validation_share: float = 0.2
    embargo_bars: int = 5
    fit: FitParams = field(default_factory=FitParams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One out-of-sample window: rows `start` to `end` - 1 of the common timeline."""

    start: int
    end: int
    n_train: int
    n_validation: int
    n_test: int
    epochs: int
    temperature: float
    log_loss: float
    baseline_log_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The final model, and the out-of-sample figures of the walk-forward beside two naive forecasts."""

    model: Fitted
    folds: tuple[Fold, ...]
    metrics: dict[str, ForecastMetrics]  # "model", "baseline" (class frequencies), "persistence" (last move again)
    n_rows_of: tuple[int, ...]  # samples of each symbol that trained or validated the final model

    @property
    def n_rows(self) -> int:
        return sum(self.n_rows_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Forecasts of one test window and what happened; (n, ...) each."""

    outcome: OutcomeArray
    forward: FloatArray
    forecasts: dict[str, FloatArray]


def train(
    features: FloatArray, close: FloatArray, *, params: TrainParams, seed: int, progress: Progress | None = None
) -> Trained:
    """Judge by purged walk-forward, then fit the final model on everything given.

    `features` (n_bars, n_symbols, n_features) and `close` (n_bars, n_symbols) lie on one timeline, NaN where
    missing. What must stay unseen is not to be passed. The same arrays, parameters, seed and number of threads
    give equal bits. `DataError` where a part would have too few samples, `NoSampleError` where there is none at all.
    """
    if features.shape[:2] != close.shape:
        raise ValueError(f"features must be (n_bars, n_symbols, ...) = {close.shape}, were {features.shape}")
    task = _Task.of(features, close, params=params, seed=seed)
    report = _Reporter(params, progress)
    windows, whole = task.splits(len(close))
    if not task.yields().any():
        raise NoSampleError(f"training needs complete, labelled rows, there were none in {len(close):,} bars")
    for split in (*windows, whole):  # say so before the first minute of work, not after it
        task.require_samples(split)
    judged = [task.judge(split, report.part(f"fold {number}")) for number, split in enumerate(windows, start=1)]
    return Trained(
        model=task.fit(whole, report.part("final model")),
        folds=tuple(fold for fold, _ in judged),
        metrics=_pooled([window for _, window in judged]),
        n_rows_of=tuple((task.samples(whole.train) | task.samples(whole.validation)).sum(axis=0).tolist()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Inputs and labels in packed order, and what is done with a split of them."""

    packed: Packed
    made: Labels
    outcome: OutcomeArray  # (n_rows, n_symbols)
    params: TrainParams
    seed: int

    @classmethod
    def of(cls, features: FloatArray, close: FloatArray, *, params: TrainParams, seed: int) -> _Task:
        made = labels.make(
            close, horizon_bars=params.horizon_bars, theta=params.theta, volatility_bars=params.volatility_bars
        )
        packed = pack(features, receptive_bars=preset(params.preset).receptive_bars)
        outcome = packed.place(made.outcome, outside=labels.UNKNOWN).astype(np.int8)
        return cls(packed=packed, made=made, outcome=outcome, params=params, seed=seed)

    def splits(self, n_bars: int) -> tuple[list[Split], Split]:
        """The walk-forward windows, and the split of everything for the final model."""
        known_at, share, embargo = self.made.known_at, self.params.validation_share, self.params.embargo_bars
        windows = splits.walk_forward(
            known_at,
            n_folds=self.params.n_folds,
            first_test_share=self.params.first_test_share,
            validation_share=share,
            embargo_bars=embargo,
        )
        whole = splits.split(known_at, start=n_bars, end=n_bars, validation_share=share, embargo_bars=embargo)
        return list(windows), whole

    def samples(self, chosen: BoolArray) -> BoolArray:
        """The chosen samples in packed order that are labelled and have complete input."""
        labelled = chosen & (self.made.outcome != labels.UNKNOWN)
        placed: BoolArray = self.packed.place(labelled, outside=0).astype(np.bool_)
        return placed & self.packed.ready

    def yields(self) -> FloatArray:
        """(n_symbols,) the part of a symbol's own rows, from its first sample on, that are samples; 0 where none is."""
        samples = self.samples(np.ones(self.made.outcome.shape, dtype=np.bool_))
        since = np.logical_or.accumulate(samples, axis=0) & (self.packed.row >= 0)
        return np.asarray(samples.sum(axis=0) / np.maximum(since.sum(axis=0), 1))

    def require_samples(self, split: Split) -> None:
        self._require(split.train, MIN_TRAIN, "to train on")
        self._require(split.validation, MIN_VALIDATION, "to validate on")
        if split.test.any():
            self._require(split.test, MIN_TEST, "to test on")

    def _require(self, chosen: BoolArray, needed: int, purpose: str) -> None:
        """Of each further bar a part of the split gets its share; what comes off for warm-up stays the same."""
        rows, n_bars = self.samples(chosen), len(chosen)
        found = int(rows.sum())
        if found >= needed:
            return
        share = float(chosen.sum(axis=0) @ self.yields()) / n_bars
        wanted = f"about {n_bars + math.ceil((needed - found) / share):,} bars" if share else "many more bars"
        raise DataError(
            f"training needs at least {needed} complete, labelled rows {purpose}, there were {found} in {n_bars:,} "
            f"bars: {wanted} are needed, or more symbols"
        )

    def fit(self, split: Split, report: EpochDone) -> Fitted:
        return fit(
            self.packed,
            self.outcome,
            train=self.samples(split.train),
            validation=self.samples(split.validation),
            config=preset(self.params.preset),
            params=self.params.fit,
            seed=self.seed,
            epoch_done=report,
        )

    def judge(self, split: Split, report: EpochDone) -> tuple[Fold, _Judged]:
        """Fit on the split's past and forecast its test window."""
        model, test, past = self.fit(split, report), self.samples(split.test), self.samples(split.train)
        last = self._last_move()
        held = float((last[past] == self.outcome[past]).mean())
        judged = _Judged(
            outcome=self.outcome[test],
            forward=self.packed.place(self.made.forward, outside=np.nan)[test].astype(np.float64),
            forecasts={
                "model": forecast(model, self.packed.values)[test],
                "baseline": np.broadcast_to(model.prior, (int(test.sum()), 3)),
                # a little above a third at least, so that its likeliest class is the last one
                "persistence": metrics.persistence(last[test], held=max(held, 0.34)),
            },
        )
        rows = np.flatnonzero(split.test.any(axis=1))
        fold = Fold(
            start=int(rows[0]),
            end=int(rows[-1]) + 1,
            n_train=int(past.sum()),
            n_validation=int(self.samples(split.validation).sum()),
            n_test=int(test.sum()),
            epochs=model.epochs,
            temperature=model.temperature,
            log_loss=calibration.log_loss(judged.forecasts["model"], judged.outcome),
            baseline_log_loss=calibration.log_loss(judged.forecasts["baseline"], judged.outcome),
        )
        return fold, judged

    def _last_move(self) -> OutcomeArray:
        """The class of the last move as long as the horizon, HOLD where it is unknown; packed order."""
        last = self.packed.place(labels.classify(self.made.trailing, self.params.theta), outside=HOLD)
        return np.where(last == labels.UNKNOWN, HOLD, last).astype(np.int8)


def forecast(model: Fitted, values: FloatArray) -> FloatArray:
    """Probabilities (n, n_symbols, 3) in float64 from packed features (n, n_symbols, n_features)."""
    network = restored(model.config, values.shape[2], model.weights)
    rows = torch.from_numpy((values - model.mean) / model.scale)
    logits = evaluate(network.double(), rows, receptive_bars=model.config.receptive_bars).numpy()
    return calibration.probabilities(logits, prior=model.prior, temperature=model.temperature)


def _pooled(judged: list[_Judged]) -> dict[str, ForecastMetrics]:
    """Figures over all test windows together; the rank correlation is the mean over windows."""
    outcome = np.concatenate([one.outcome for one in judged])
    forward = np.concatenate([one.forward for one in judged])
    result = {}
    for name in ("model", "baseline", "persistence"):
        pooled = metrics.forecast_metrics(np.concatenate([one.forecasts[name] for one in judged]), outcome, forward)
        each = [metrics.forecast_metrics(one.forecasts[name], one.outcome, one.forward)["ic"] for one in judged]
        known = [value for value in each if value is not None]
        result[name] = {
            **pooled,
            "ic": float(np.mean(known)) if known else None,
            "n_samples": float(len(outcome)),
        }
    return result


class _Reporter:
    """Turns the epochs of several fits into one count of steps."""

    def __init__(self, params: TrainParams, progress: Progress | None) -> None:
        self.progress, self.epochs = progress, params.fit.max_epochs
        self.total, self.begun = (params.n_folds + 1) * self.epochs, 0

    def part(self, name: str) -> EpochDone:
        offset = self.begun * self.epochs
        self.begun += 1

        def report(epoch: int, loss: float) -> None:
            if self.progress is not None:
                self.progress(offset + epoch, self.total, f"{name}, epoch {epoch}, validation log loss {loss:.4f}")

        return report
