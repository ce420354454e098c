"""Tier 3 on live data: which model serves which symbol, kept warm in this process, behind a breaker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import cast

import numpy as np
from loguru import logger

from helios import events
from helios.breakers import breaker
from helios.breakers.guard import IGNORED
from helios.db.failures import UNAVAILABLE, lost, savepoint
from helios.errors import error_text
from helios.liveness import told_to_end
from helios.modules import process as modules
from helios.modules import watch
from helios.modules.errors import WatchedCallFailed
from tiers.challenge import merge
from tiers.contracts import BoolArray, FeatureSet, FloatArray, Forecast, Switches
from tiers.contracts.errors import ModelMissing
from tiers.contracts.feature_sets import ABSENT
from tiers.contracts.protocols import FeaturesTier, PredictTier
from trading.models import Book, MLModel, Stage
from trading.registry import artefacts
from trading.registry import read as registry

_announced: dict[tuple[str, int], str] = {}  # what was told of a model, by the kind of event and its row's number
NEUTRAL, NEUTRAL_HORIZON = "neutral_forecast", 1
DEFAULT_RECEPTIVE_BARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A forecast, the models behind it by name, and the fallback when it is neutral."""

    forecast: Forecast
    served_by: dict[str, MLModel]
    fallback: str = ""
    reason: str = ""
    silent: dict[str, list[str]] = field(default_factory=dict)  # of whom no model speaks, and the features they lack


def model_for(book: Book, made: FeatureSet) -> MLModel:
    """The model the book is pinned to, else the champion of its timeframe and symbols on that set of features.

    `ModelMissing` when there is none, and when the pinned one was trained on another set or another asset class.
    """
    if book.model_name:
        pinned = MLModel.objects.filter(name=book.model_name).first()
        if pinned is None:
            raise ModelMissing(f"book {book.name!r} is pinned to model {book.model_name!r}, which does not exist")
        refuse_other_features(pinned, made)
        registry.refuse_other_classes(pinned, book.symbols)
        return pinned
    return registry.champion(book.timeframe, made.name, made.version, book.symbols)


def refuse_other_features(model: MLModel, made: FeatureSet) -> None:
    """`ModelMissing` for a model that was trained on other columns than those of the set."""
    if (model.feature_set, model.feature_version, tuple(model.card["feature_names"])) != (
        made.name,
        made.version,
        made.columns,
    ):
        raise ModelMissing(
            f"model {model.name} was trained on features {model.feature_set} {model.feature_version} "
            f"({len(model.card['feature_names'])} columns), the features module makes {made} ({len(made.columns)})"
        )


def features_in_use(timeframe: str) -> FeatureSet:
    """The set that the features module in use makes for a timeframe."""
    tier = cast("FeaturesTier", watch.guarded(modules.resolve(Stage.FEATURES.value)))
    return tier.feature_set(timeframe)


def in_use() -> PredictTier:
    """The predict module that new cycles are served by."""
    return cast("PredictTier", watch.guarded(modules.resolve(Stage.PREDICT.value)))


def receptive_bars(book: Book) -> int:
    """Feature rows that the book's models look at; a default while there is no model."""
    models = registry.in_service(book.timeframe)
    if book.model_name:
        models += MLModel.objects.filter(name=book.model_name)
    return max(
        (int(m.card.get("receptive_bars", DEFAULT_RECEPTIVE_BARS)) for m in models), default=DEFAULT_RECEPTIVE_BARS
    )


def forecast(
    ask: Callable[[PredictTier], Outcome], tier: PredictTier, *, bar_ts: datetime, symbols: tuple[str, ...]
) -> Outcome:
    """Probabilities of every symbol, by `ask` behind the breaker; the neutral forecast whatever goes wrong.

    The failure of a version that is under watch passes: the pipeline then runs the stage with the one before it. So
    does a database that is away: the task is tried again.
    """
    try:
        with breaker("neural_network", ignore=(*IGNORED, WatchedCallFailed, *UNAVAILABLE)), savepoint():
            return ask(tier)
    except WatchedCallFailed:
        raise
    except BaseException as error:  # whatever a model does, the cycle goes on without its forecast
        if lost(error) or told_to_end(error):
            raise
        reason = error_text(error)
        logger.bind(error=reason).warning("predict.neutral")
        return _neutral(bar_ts, symbols, reason)


def ask(
    book: Book,
    switches: Switches,
    tier: PredictTier,
    *,
    bar_ts: datetime,
    made: FeatureSet,
    rows: Callable[[int], FloatArray],
) -> Outcome:
    """The champion model's probabilities, and the challenger model's for its share of symbols (`neural_network_v2`).

    `rows` gives the last n rows of the features `made`. Raises what the champion raises; when the challenger model
    fails, the champion's rows stay.
    """
    symbols = tuple(book.symbols)
    champion = model_for(book, made)
    probability, horizon = _ask(champion, tier, rows)
    _tell("model.unseen_symbols", champion, registry.unseen(champion, symbols))
    horizons = [horizon] * len(symbols)
    names, served = [champion.name] * len(symbols), {champion.name: champion}
    fallback = reason = ""
    try:
        with savepoint():
            _let_challenger_serve(
                book, switches, probability, horizons, names, served, ask=partial(_ask, tier=tier, rows=rows), made=made
            )
    except WatchedCallFailed:
        raise
    except BaseException as error:  # a challenger on trial may fail; the champion then serves its symbols
        if lost(error) or told_to_end(error):
            raise
        fallback, reason = "champion_for_challenger", error_text(error)
    known: BoolArray = np.asarray(np.isfinite(probability).all(axis=1))
    return Outcome(
        forecast=Forecast(
            bar_ts=bar_ts,
            symbols=symbols,
            probability=probability,
            horizon_bars=tuple(horizons),
            model_names=tuple(name if ok else "" for name, ok in zip(names, known, strict=True)),
        ),
        served_by=served,
        fallback=fallback,
        reason=reason,
        silent={
            symbol: lacking
            for column, symbol in enumerate(symbols)
            if not known[column] and (lacking := _lacking(served[names[column]], tier, made, rows, column))
        },
    )


def _lacking(
    model: MLModel, tier: PredictTier, made: FeatureSet, rows: Callable[[int], FloatArray], column: int
) -> list[str]:
    """The features that a symbol has in none of the rows that its model looks at, where it has others."""
    never = np.isnan(rows(artefacts.loaded(model, tier.load).receptive_bars)[:, column]).all(axis=0)
    looked_at = ~np.isin(made.columns, model.card["params"].get(ABSENT, []))
    return [] if never.all() else np.array(made.columns)[never & looked_at].tolist()


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
    horizons: list[int],
    names: list[str],
    served: dict[str, MLModel],
    *,
    ask: Callable[[MLModel], tuple[FloatArray, int]],
    made: FeatureSet,
) -> None:
    """Put the challenger's probabilities and horizon in the places of the symbols that it serves, if there are any."""
    places = [index for index, symbol in enumerate(book.symbols) if symbol in switches.neural_network_v2]
    challenger = registry.challenger(book.timeframe, made.name, made.version, book.symbols) if places else None
    if challenger is None:
        return
    refuse_other_features(challenger, made)
    other, horizon = ask(challenger)
    for index in places:
        probability[index], horizons[index], names[index] = other[index], horizon, challenger.name
    served[challenger.name] = challenger


def _ask(model: MLModel, tier: PredictTier, rows: Callable[[int], FloatArray]) -> tuple[FloatArray, int]:
    ready = artefacts.loaded(model, tier.load)
    return tier.run(ready, rows(ready.receptive_bars))[-1].copy(), ready.horizon_bars


def _neutral(bar_ts: datetime, symbols: tuple[str, ...], reason: str) -> Outcome:
    return Outcome(
        forecast=Forecast(
            bar_ts=bar_ts,
            symbols=symbols,
            probability=np.full((len(symbols), 3), np.nan),
            horizon_bars=(NEUTRAL_HORIZON,) * len(symbols),
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
    wanted, tier = registry.all_in_service()[: artefacts.MAX_LOADED], in_use()
    artefacts.keep_only(wanted)
    return sum(_warmed(model, tier) for model in wanted)


def _warmed(model: MLModel, tier: PredictTier) -> bool:
    if artefacts.is_loaded(model, tier.load):
        return True
    try:
        loaded = artefacts.loaded(model, tier.load)
        tier.run(loaded, np.zeros((loaded.receptive_bars, 1, len(loaded.card.feature_names))))
    except BaseException as error:  # one bad model must not keep the others cold
        if told_to_end(error):
            raise
        _tell("model.not_warmed", model, error_text(error))
        return False
    return True


def _tell(kind: str, model: MLModel, why: str) -> None:
    """Log a warning about a model and record it as an event, once a process."""
    if not why or _announced.get((kind, model.pk)) == why:
        return
    _announced[kind, model.pk] = why
    logger.bind(model=model.name, reason=why).warning(kind)
    events.record(kind=kind, source="tiers.live", subject=model.name, severity="warning", data={"reason": why})
