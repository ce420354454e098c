"""A trained model on disk: weights as safetensors, everything else as a JSON card; all hashed, replaced whole."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from tiers.contracts import FloatArray
from tiers.contracts.errors import DataError, ModelMissing
from tiers.contracts.feature_sets import ABSENT
from tiers.predict import calibration
from tiers.predict.network import PRESETS, CausalNetwork, evaluate, preset, restored
from tiers.predict.packing import pack, without

WEIGHTS, CARD = "model.safetensors", "card.json"
SHA256 = "artifact_sha256"  # the field of a card that holds its own hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a model is, what it was made from and how it did; JSON values throughout."""

    name: str
    preset: str
    feature_set: str
    feature_version: str
    feature_names: list[str]
    mean: list[float]  # of the training rows, a feature each
    scale: list[float]
    prior: list[float]  # class frequencies of the training samples: sell, hold, buy
    temperature: float
    receptive_bars: int
    horizon_bars: int
    theta: float
    seed: int
    timeframe: str
    symbols: list[str]
    trained_from: str  # ISO 8601, first and last bar used, inclusive
    trained_to: str
    n_rows: int
    data_sha256: str
    weights_sha256: str
    code_version: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    folds: list[dict[str, Any]]
    inference_dtype: str = "float64"
    holdout_from: str | None = None  # ISO 8601, the first stored bar after the training span; None: there was none

    @property
    def sha256(self) -> str:
        """One hash over all of the artifact: every field, and the weights by theirs.

        A JSON store may give a whole number back as an integer, so 1.0 and 1 hash alike.
        """
        text = json.dumps(_whole(asdict(self)), sort_keys=True, separators=(",", ":"))
        return digest(text.encode())

    def to_json(self) -> dict[str, Any]:
        """The card as a JSON object, with its hash."""
        return {**asdict(self), SHA256: self.sha256}


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list | tuple) else value


class Predictor:
    """A loaded model: features in, probabilities out. The network is never changed after loading."""

    def __init__(self, card: Card, network: CausalNetwork) -> None:
        self.card = card
        self._network = network.double().eval()
        self._mean, self._scale = np.array(card.mean), np.array(card.scale)
        self._prior = np.array(card.prior)
        self._absent = np.isin(card.feature_names, card.params.get(ABSENT, []))

    @property
    def receptive_bars(self) -> int:
        return self.card.receptive_bars

    @property
    def horizon_bars(self) -> int:
        return self.card.horizon_bars

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Probabilities (n_bars, n_symbols, 3) of sell, hold, buy from features (n_bars, n_symbols, n_features).

        Each symbol is read on its own rows. A row is NaN where the last `receptive_bars` own rows are not all
        complete, but for features that the training did not have, which are not looked at. Float64 throughout, so
        that a live window gives the value of the batch. `DataError` when the number of features is not the one that
        the model was trained on.
        """
        if features.ndim != 3 or features.shape[2] != len(self.card.feature_names):
            expected = len(self.card.feature_names)
            raise DataError(f"features must be (n_bars, n_symbols, {expected}), were {features.shape}")
        out = np.full((*features.shape[:2], 3), np.nan)
        if self._absent.any():
            features = without(features, self._absent)
        packed = pack(features, receptive_bars=self.receptive_bars)
        if not packed.ready.any():
            return out
        rows = torch.from_numpy((packed.values - self._mean) / self._scale)
        logits = evaluate(self._network, rows, receptive_bars=self.receptive_bars).numpy()
        known = calibration.probabilities(logits, prior=self._prior, temperature=self.card.temperature)
        row, symbol = np.nonzero(packed.ready)
        out[packed.row[row, symbol], symbol] = known[row, symbol]
        return out


def weights_bytes(weights: dict[str, torch.Tensor]) -> bytes:
    """The weights in safetensors form, in a fixed order, so that equal weights give equal bytes."""
    return save_tensors({name: weights[name].contiguous() for name in sorted(weights)})


def digest(data: bytes) -> str:
    """SHA-256 as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def save(folder: Path, card: Card, weights: bytes) -> None:
    """Write weights and card into `folder` at once: it appears whole or not at all.

    `DataError` when the weights do not have the hash of the card. A folder that is there already is replaced.
    """
    if digest(weights) != card.weights_sha256:
        raise DataError("the card must carry the hash of its weights, it carries another one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    aside = draft.with_name(f"{draft.name}-old")
    try:
        (draft / WEIGHTS).write_bytes(weights)
        (draft / CARD).write_text(json.dumps(card.to_json(), indent=2, sort_keys=True) + "\n")
        draft.chmod(0o755)
        if folder.exists():
            folder.rename(aside)
        draft.rename(folder)
    finally:
        for left in (draft, aside):
            shutil.rmtree(left, ignore_errors=True)


def read_card(folder: Path) -> Card:
    """The card in a folder. `ModelMissing` when it is not there, not readable or not as it was written.

    One from before cards carried their hash passes: the registry knows it.
    """
    try:
        data = json.loads((folder / CARD).read_text())
        card = Card(**{item.name: data[item.name] for item in fields(Card)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelMissing(
            f"model folder {folder} must hold a readable {CARD}: {type(error).__name__} {error}"
        ) from error
    if data.get(SHA256, card.sha256) != card.sha256:
        raise ModelMissing(f"{folder / CARD} must be as it was written, its {SHA256} is that of other content")
    return card


def _refuse_contradiction(card: Card, folder: Path) -> None:
    n_features, receptive = len(card.feature_names), preset(card.preset).receptive_bars
    seen = (len(card.mean), len(card.scale), len(card.prior), card.receptive_bars)
    if seen != (n_features, n_features, 3, receptive):
        raise ModelMissing(
            f"the card in {folder} must have {n_features} means, {n_features} scales, 3 class frequencies and "
            f"{receptive} receptive bars, has {', '.join(map(str, seen))}"
        )


def load(folder: Path) -> Predictor:
    """The model in a folder, ready to predict.

    `ModelMissing` when a file is missing, damaged or edited: card and weights must have the hashes that the card holds.
    """
    card = read_card(folder)
    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise ModelMissing(f"model folder {folder} must hold {WEIGHTS}: {error.strerror or error}") from error
    if digest(data) != card.weights_sha256:
        raise ModelMissing(f"the weights in {folder} must have the hash of their card, they have another one")
    if card.preset not in PRESETS:
        raise ModelMissing(f"model folder {folder} must be of a preset that exists, its card says {card.preset!r}")
    try:
        network = restored(preset(card.preset), len(card.feature_names), load_tensors(data))
    except (RuntimeError, SafetensorError) as error:
        raise ModelMissing(f"the weights in {folder} do not fit preset {card.preset}") from error
    _refuse_contradiction(card, folder)
    return Predictor(card, network)
