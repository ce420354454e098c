"""Tier 3 on live data: which model serves which symbol, kept warm in this process, behind a breaker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.db import DatabaseError
from loguru import logger

from helios.breakers import breaker
from helios.breakers.guard import IGNORED
from helios.modules.errors import WatchedCallFailed
from helios.platform.db import UNAVAILABLE, savepoint
from tiers.contracts import BoolArray, FloatArray, Forecast, Switches
from tiers.delivery import merge
from tiers.errors import HeliosError, ModelMissing
from trading.models import Book, MLModel
from trading.selectors import models as registry

_predictors: dict[tuple[str, str], Any] = {}
Run = Callable[[Any, FloatArray], FloatArray]
NEUTRAL, NEUTRAL_HORIZON = "neutral_forecast", 1
DEFAULT_RECEPTIVE_BARS = 64
PASSED_ON = (WatchedCallFailed, *UNAVAILABLE)


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
    """The loaded model, kept for the life of the process; the hash over all of it is checked when it is read."""
    from tiers.predict import artifact  # noqa: PLC0415 - torch loads only where models run

    key = (model.name, model.artifact_sha256)
    if key not in _predictors:
        folder = registry.folder_of(model)
        loaded = artifact.load(folder)
        if loaded.card.sha256 != model.artifact_sha256:
            raise ModelMissing(
                f"{folder / artifact.CARD} and its weights must have the hash that was registered, do not"
            )
        _predictors[key] = loaded
    return _predictors[key]


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
        with breaker("neural_network", ignore=(*IGNORED, *PASSED_ON)), savepoint():
            return ask(run)
    except PASSED_ON:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a model does, the cycle goes on without its forecast
        logger.bind(error=str(error)).warning("predict.neutral")
        return _neutral(bar_ts, symbols, _said(error))


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
    except PASSED_ON:
        raise
    except Exception as error:  # noqa: BLE001 - a challenger on trial may fail; the champion then serves its symbols
        fallback, reason = "champion_for_challenger", _said(error)
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


def _said(error: Exception) -> str:
    """An error as a reason: our own in their words, others with their kind."""
    return str(error) if isinstance(error, HeliosError) else f"{type(error).__name__}: {error}".rstrip()


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
    """Load every champion and challenger and run each once on empty input; returns how many are ready.

    Called when a worker's process starts. A model that cannot be loaded is logged; its cycles are then neutral.
    """
    from tiers.predict import run  # noqa: PLC0415 - torch loads only where models run

    ready = 0
    try:
        for model in MLModel.objects.filter(role__in=[MLModel.Role.CHAMPION, MLModel.Role.CHALLENGER]):
            loaded = predictor(model)
            run(loaded, np.zeros((loaded.receptive_bars, 1, len(loaded.card.feature_names))))
            ready += 1
    except (HeliosError, DatabaseError, OSError) as error:
        logger.bind(error=str(error)).warning("predict.not_warmed")
    return ready
