"""One network, fitted to one training part and calibrated on one validation part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tiers.contracts import BoolArray, FloatArray
from tiers.predict import calibration, metrics
from tiers.predict.metrics import OutcomeArray
from tiers.predict.network import CausalNetwork, NetworkConfig, device, evaluate
from tiers.predict.packing import Packed

CONSTANT_BELOW = 1e-9  # a feature that varies less is constant but for rounding
EpochDone = Callable[[int, float], None]  # epoch from 1, validation log loss


@dataclass(frozen=True, slots=True, kw_only=True)
class FitParams:
    """How a network is fitted; a step sees `batch` segments of `segment_bars` labelled rows each."""

    max_epochs: int = 30
    patience: int = 6
    segment_bars: int = 128
    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted network with all that turns features into probabilities."""

    weights: dict[str, Tensor]  # float32, on the CPU
    config: NetworkConfig
    mean: FloatArray  # (n_features,) of the training rows
    scale: FloatArray  # (n_features,) standard deviation, 1 where a feature did not vary
    prior: FloatArray  # (3,) class frequencies of the training samples
    temperature: float
    epochs: int
    validation_log_loss: float


def normalisation(values: FloatArray, train: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation, (n_features,) each, of the rows that train; a constant feature has scale 1."""
    rows = values[train]
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    return mean, np.where(scale > CONSTANT_BELOW, scale, 1.0)


def fit(
    packed: Packed,
    outcome: OutcomeArray,
    *,
    train: BoolArray,
    validation: BoolArray,
    config: NetworkConfig,
    params: FitParams,
    seed: int,
    epoch_done: EpochDone | None = None,
) -> Fitted:
    """Fit with early stopping on the calibrated validation log loss; the same inputs and seed give equal bits.

    `outcome`, `train` and `validation` are (n_rows, n_symbols) in packed order; the masks hold only ready,
    labelled samples. Classes weigh equally in the loss and get their frequencies back in the calibration.
    """
    mean, scale = normalisation(packed.values, train)
    where = device(config)
    rows = torch.from_numpy((packed.values - mean) / scale).to(where, torch.float32)
    prior = metrics.frequencies(outcome[train])
    with _reproducible(seed, where):
        network = CausalNetwork(config, packed.values.shape[2]).to(where)
        search = _Search(patience=params.patience, prior=prior)
        chooser = torch.Generator().manual_seed(seed)
        steps = _Steps(rows, outcome, train, config=config, params=params, prior=prior, chooser=chooser)
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
        )
        first = int(np.flatnonzero(validation.any(axis=1))[0])
        context = max(0, first - config.receptive_bars + 1)
        for epoch in range(1, params.max_epochs + 1):
            steps.epoch(network, optimiser)
            logits = evaluate(network, rows[context:], receptive_bars=config.receptive_bars)
            seen = logits.cpu().double().numpy()[validation[context:]]
            loss = search.consider(network, seen, outcome[validation], epoch)
            if epoch_done is not None:
                epoch_done(epoch, loss)
            if search.over(epoch):
                break
    return Fitted(
        weights=search.weights,
        config=config,
        mean=mean,
        scale=scale,
        prior=prior,
        temperature=search.temperature,
        epochs=search.epoch,
        validation_log_loss=search.loss,
    )


class _Search:
    """The best epoch so far, by the log loss of calibrated validation forecasts."""

    def __init__(self, *, patience: int, prior: FloatArray) -> None:
        self.patience, self.prior = patience, prior
        self.loss, self.epoch, self.temperature = float("inf"), 0, 1.0
        self.weights: dict[str, Tensor] = {}

    def consider(self, network: CausalNetwork, logits: FloatArray, outcome: OutcomeArray, epoch: int) -> float:
        temperature = calibration.fit_temperature(logits, outcome, prior=self.prior)
        forecast = calibration.probabilities(logits, prior=self.prior, temperature=temperature)
        loss = calibration.log_loss(forecast, outcome)
        if loss < self.loss:
            self.loss, self.epoch, self.temperature = loss, epoch, temperature
            self.weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        return loss

    def over(self, epoch: int) -> bool:
        return epoch - self.epoch >= self.patience


class _Steps:
    """Gradient steps over segments of the series, cut at a new random place in every epoch."""

    def __init__(
        self,
        rows: Tensor,
        outcome: OutcomeArray,
        train: BoolArray,
        *,
        config: NetworkConfig,
        params: FitParams,
        prior: FloatArray,
        chooser: torch.Generator,
    ) -> None:
        self.params, self.chooser = params, chooser
        self.before = config.receptive_bars - 1
        length = params.segment_bars
        # Zeros before and behind the series let every segment be whole; no sample that trains sees them.
        self.rows = torch.nn.functional.pad(rows, (0, 0, 0, 0, self.before + length, length))
        target = torch.from_numpy(np.where(train, outcome, -1)).to(rows.device, torch.long)
        self.target = torch.nn.functional.pad(target, (0, 0, length, length), value=-1)
        weight = torch.from_numpy(1.0 / (3.0 * prior)).to(rows.device, torch.float32)
        self.loss = torch.nn.CrossEntropyLoss(weight=weight, ignore_index=-1)

    def epoch(self, network: CausalNetwork, optimiser: torch.optim.Optimizer) -> None:
        network.train()
        for start, symbol in self._batches():
            rows, target = self._gather(start, symbol)
            optimiser.zero_grad(set_to_none=True)
            loss = self.loss(network(rows).flatten(0, 1), target.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        length, n_symbols = self.params.segment_bars, self.target.shape[1]
        offset = int(torch.randint(length, (1,), generator=self.chooser))
        starts = torch.arange(offset, len(self.target) - length + 1, length)
        pairs = torch.cartesian_prod(starts, torch.arange(n_symbols))
        labelled = (self.target.cpu() >= 0).long().cumsum(0)
        labelled = torch.nn.functional.pad(labelled, (0, 0, 1, 0))
        count = labelled[pairs[:, 0] + length, pairs[:, 1]] - labelled[pairs[:, 0], pairs[:, 1]]
        pairs = pairs[count > 0]
        pairs = pairs[torch.randperm(len(pairs), generator=self.chooser)]
        for batch in torch.split(pairs, self.params.batch):
            yield batch[:, 0], batch[:, 1]

    def _gather(self, start: Tensor, symbol: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (before + length, batch, n_features) and targets (length, batch) of the chosen segments."""
        length = self.params.segment_bars
        span = torch.arange(self.before + length)[:, None] + start[None, :]
        return self.rows[span, symbol], self.target[span[:length], symbol]


@contextmanager
def _reproducible(seed: int, where: torch.device) -> Iterator[None]:
    """Seeded random numbers and deterministic kernels inside, everything as before outside.

    On CUDA a kernel without a deterministic variant warns and is used. `torch.use_deterministic_algorithms` says the
    same to torch's compiler too, which it loads for seconds and nobody here uses.
    """
    before = torch.get_deterministic_debug_mode()
    on_gpu = where.type == "cuda"
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_gpu else []):
        torch.manual_seed(seed)
        torch.set_deterministic_debug_mode("warn" if on_gpu else "error")
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(before)
