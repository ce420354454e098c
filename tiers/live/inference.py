"""Tier 3 on live data: which model serves which symbol, kept warm in this process, behind a breaker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from loguru import logger

from helios import events
from helios.breakers import breaker
from helios.breakers.guard import IGNORED
from helios.db.failures import UNAVAILABLE, lost, savepoint
from helios.modules.errors import WatchedCallFailed
from tiers.challenge import merge
from tiers.challenge.arms import said
from tiers.contracts import BoolArray, FloatArray, Forecast, Switches
from tiers.contracts.errors import ModelMissing
from trading.models import Book, MLModel
from trading.registry import read as registry

MAX_LOADED = 16  # models that a process keeps; of more, the least recently used goes
Key = tuple[str, str]  # name and hash of a model
_predictors: dict[Key, Any] = {}  # in the order of their last use
_announced: dict[int, str] = {}  # why a model could not be warmed, by its row's number: told once
_keeping, _loading = threading.Lock(), threading.Lock()
Run = Callable[[Any, FloatArray], FloatArray]
NEUTRAL, NEUTRAL_HORIZON = "neutral_forecast", 1
DEFAULT_RECEPTIVE_BARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A forecast, the models behind it by name, and the fallback when it is neutral."""

    forecast: Forecast
    served_by: dict[str, MLModel]
    fallback: str = ""
    reason: str = ""


def model_for(book: Book) -> MLModel:
    """The model the book is pinned to, else the champion of its timeframe; `ModelMissing` when there is none."""
    if book.model_name:
        pinned = MLModel.objects.filter(name=book.model_name).first()
        if pinned is None:
            raise ModelMissing(f"book {book.name!r} is pinned to model {book.model_name!r}, which does not exist")
        return pinned
    return registry.champion(book.timeframe)


def predictor(model: MLModel) -> Any:
    """The loaded model, of which a process keeps `MAX_LOADED`; the hash over all of it is checked when it is read."""
    found = _held(_key(model))
    if found is None:
        with _loading:  # whoever waited here for another thread finds it held
            found = _held(_key(model))
            if found is None:
                found = _read(model)
                _hold(_key(model), found)
    return found


def _key(model: MLModel) -> Key:
    return model.name, model.artifact_sha256


def _held(key: Key) -> Any:
    with _keeping:
        found = _predictors.pop(key, None)
        if found is not None:
            _predictors[key] = found
        return found


def _hold(key: Key, loaded: Any) -> None:
    with _keeping:
        _predictors[key] = loaded
        for oldest in list(_predictors)[:-MAX_LOADED]:
            del _predictors[oldest]


def _read(model: MLModel) -> Any:
    from tiers.predict import artefact  # noqa: PLC0415 - torch loads only where models run

    folder = registry.folder_of(model)
    loaded = artefact.load(folder)
    if loaded.card.sha256 != model.artifact_sha256:
        card = folder / artefact.CARD
        raise ModelMissing(f"{card} and its weights must have the hash that was registered, they have another one")
    return loaded


def receptive_bars(book: Book) -> int:
    """Feature rows that the book's models look at; a default while there is no model."""
    models = registry.in_service(book.timeframe)
    if book.model_name:
        models += MLModel.objects.filter(name=book.model_name)
    return max(
        (int(m.card.get("receptive_bars", DEFAULT_RECEPTIVE_BARS)) for m in models), default=DEFAULT_RECEPTIVE_BARS
    )


def forecast(ask: Callable[[Run], Outcome], run: Run, *, bar_ts: datetime, symbols: tuple[str, ...]) -> Outcome:
    """Probabilities of every symbol, by `ask` behind the breaker; the neutral forecast whatever goes wrong.

    The failure of a version that is under watch passes: the pipeline then runs the stage with the one before it. So
    does a database that is away: the task is tried again.
    """
    try:
        with breaker("neural_network", ignore=(*IGNORED, WatchedCallFailed, *UNAVAILABLE)), savepoint():
            return ask(run)
    except WatchedCallFailed:
        raise
    except Exception as error:  # whatever a model does, the cycle goes on without its forecast
        if lost(error):
            raise
        logger.bind(error=str(error)).warning("predict.neutral")
        return _neutral(bar_ts, symbols, said(error))


def ask(book: Book, switches: Switches, run: Run, *, bar_ts: datetime, load: Callable[[int], FloatArray]) -> Outcome:
    """The champion model's probabilities, and the challenger model's for its share of symbols (`neural_network_v2`).

    Raises what the champion raises; when the challenger model fails, the champion's rows stay.
    """
    symbols = tuple(book.symbols)
    champion = model_for(book)
    probability, horizon = _ask(champion, run, load)
    names, served = [champion.name] * len(symbols), {champion.name: champion}
    fallback = reason = ""
    try:
        with savepoint():
            _let_challenger_serve(book, switches, probability, names, served, run=run, load=load)
    except WatchedCallFailed:
        raise
    except Exception as error:  # a challenger on trial may fail; the champion then serves its symbols
        if lost(error):
            raise
        fallback, reason = "champion_for_challenger", said(error)
    known: BoolArray = np.asarray(np.isfinite(probability).all(axis=1))
    return Outcome(
        forecast=Forecast(
            bar_ts=bar_ts,
            symbols=symbols,
            probability=probability,
            horizon_bars=horizon,
            model_names=tuple(name if ok else "" for name, ok in zip(names, known, strict=True)),
        ),
        served_by=served,
        fallback=fallback,
        reason=reason,
    )


def merged(own: Outcome, other: Outcome, served: frozenset[str]) -> Outcome:
    """The champion module's outcome with the challenger module's forecasts for the symbols that it serves."""
    return replace(
        own,
        forecast=merge.forecasts(own.forecast, other.forecast, served),
        served_by={**other.served_by, **own.served_by},
    )


def _let_challenger_serve(
    book: Book,
    switches: Switches,
    probability: FloatArray,
    names: list[str],
    served: dict[str, MLModel],
    *,
    run: Run,
    load: Callable[[int], FloatArray],
) -> None:
    """Put the challenger's probabilities in the places of the symbols that it serves, if there are any."""
    places = [index for index, symbol in enumerate(book.symbols) if symbol in switches.neural_network_v2]
    challenger = registry.challenger(book.timeframe) if places else None
    if challenger is None:
        return
    other, _ = _ask(challenger, run, load)
    for index in places:
        probability[index], names[index] = other[index], challenger.name
    served[challenger.name] = challenger


def _ask(model: MLModel, run: Run, load: Callable[[int], FloatArray]) -> tuple[FloatArray, int]:
    ready = predictor(model)
    return run(ready, load(ready.receptive_bars))[-1].copy(), ready.horizon_bars


def _neutral(bar_ts: datetime, symbols: tuple[str, ...], reason: str) -> Outcome:
    return Outcome(
        forecast=Forecast(
            bar_ts=bar_ts,
            symbols=symbols,
            probability=np.full((len(symbols), 3), np.nan),
            horizon_bars=NEUTRAL_HORIZON,
            model_names=("",) * len(symbols),
        ),
        served_by={},
        fallback=NEUTRAL,
        reason=reason,
    )


def warm() -> int:
    """Load every model in service and run each once on empty input; let go of the others. Returns how many are ready.

    Called when a worker's process starts, and every few seconds after, so that no cycle waits for a model that was
    promoted meanwhile. One that cannot be loaded is told once, in the log and as an event; its cycles are neutral.
    """
    wanted = registry.all_in_service()[:MAX_LOADED]
    keys = set(map(_key, wanted))
    with _keeping:
        for gone in _predictors.keys() - keys:
            del _predictors[gone]
    return sum(map(_warmed, wanted))


def _warmed(model: MLModel) -> bool:
    from tiers.predict import run  # noqa: PLC0415 - torch loads only where models run

    if _key(model) in _predictors:
        return True
    try:
        loaded = predictor(model)
        run(loaded, np.zeros((loaded.receptive_bars, 1, len(loaded.card.feature_names))))
    except Exception as error:  # noqa: BLE001 - one bad model must not keep the others cold
        _tell_not_warmed(model, said(error))
        return False
    return True


def _tell_not_warmed(model: MLModel, why: str) -> None:
    if _announced.get(model.pk) == why:
        return
    _announced[model.pk] = why
    logger.bind(model=model.name, error=why).warning("predict.not_warmed")
    events.record(
        kind="model.not_warmed",
        source="tiers.live",
        subject=model.name,
        severity="warning",
        data={"error": why},
    )
