"""Trained models as their module reads them, of which a process keeps the last few that were used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from helios.errors import ModelMissing
from trading.models import MLModel
from trading.registry.read import folder_of

Loader = Callable[[Path], Any]  # of a predict module: reads a model's folder
MAX_LOADED = 16  # models that a process keeps; of more, the least recently used goes
_loaded: dict[tuple[str, str, str], Any] = {}  # by name, hash and loader, in the order of their last use
_keeping, _loading = threading.Lock(), threading.Lock()


def loaded(model: MLModel, load: Loader) -> Any:
    """The model as `load` reads it; kept, and read by one thread only. Modules that read the same file share nothing.

    Raises: ModelMissing where the card and weights in its folder have another hash than the registered one.
    """
    found = _kept(model, load)
    if found is None:
        with _loading:  # whoever waited here for another thread finds it kept
            found = _kept(model, load)
            if found is None:
                found = _keep(model, load, _read(model, load))
    return found


def is_loaded(model: MLModel, load: Loader) -> bool:
    """Whether `loaded` would find the model kept."""
    return _key(model, load) in _loaded


def keep_only(models: Iterable[MLModel]) -> None:
    """Let go of all other models."""
    wanted = {(model.name, model.artifact_sha256) for model in models}
    with _keeping:
        for gone in [key for key in _loaded if key[:2] not in wanted]:
            del _loaded[gone]


def _key(model: MLModel, load: Loader) -> tuple[str, str, str]:
    return model.name, model.artifact_sha256, load.__module__


def _kept(model: MLModel, load: Loader) -> Any:
    key = _key(model, load)
    with _keeping:
        found = _loaded.pop(key, None)
        if found is not None:
            _loaded[key] = found
        return found


def _keep(model: MLModel, load: Loader, found: Any) -> Any:
    with _keeping:
        _loaded[_key(model, load)] = found
        for oldest in list(_loaded)[:-MAX_LOADED]:
            del _loaded[oldest]
    return found


def _read(model: MLModel, load: Loader) -> Any:
    folder = folder_of(model)
    found = load(folder)
    if found.card.sha256 != model.artifact_sha256:
        card = folder / "card.json"
        raise ModelMissing(f"{card} and its weights must have the hash that was registered, they have another one")
    return found
