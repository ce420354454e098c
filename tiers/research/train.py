"""Train a model from stored bars, keep it on disk, and register it."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson
from django.conf import settings

from helios.errors import DataError, ModelMissing
from helios.modules import process as modules
from tiers.backtest.reasons import joined_names, never
from tiers.backtest.runs import longer
from tiers.challenge import checks
from tiers.contracts import Bars, FeatureSet, FloatArray, adjusted
from tiers.contracts.feature_sets import ABSENT
from tiers.contracts.protocols import FeaturesTier
from tiers.ingest import jumps
from tiers.predict import VERSION as PREDICT_VERSION
from tiers.predict import artefact, calibration, network
from tiers.predict.artefact import Card
from tiers.predict.packing import without
from tiers.predict.train import NoSampleError, Trained, TrainParams, train
from trading.market import read as market
from trading.market.timestamps import utc
from trading.models import Stage
from trading.registry import write as registry

TRAINING_SHARE = 0.7  # of the history, from its beginning; the rest stays unseen for backtests
MIN_BARS = 600
WIDTH = (
    "The threshold of a move follows the volatility. To know its width is enough to be better than class frequencies, "
    "of any prices: a backtest says what the model knows beyond that."
)
Progress = Callable[[int, int, str], None]


def train_and_register(
    *,
    symbols: Sequence[str],
    timeframe: str,
    preset: str,
    seed: int,
    span: tuple[datetime | None, datetime | None] | None,
    role: str | None,
    progress: Progress | None,
    features: str | None = None,
) -> dict[str, Any]:
    """Train on the span, or on the first 70 % of the history, and register the result.

    `features` is the label of a version of the features module, that in use when None: a model serves the set that it
    was trained on, so it can be there before the version takes its slot. The same data, seed and parameters give the
    artifact that exists already. `DataError` for too little data.
    """
    started = time.perf_counter()
    params = TrainParams(preset=preset)
    bars = _bars(list(symbols), timeframe, span)
    source = _source(features, bars)
    identity = _identity(bars, params, seed, source)
    name = f"{preset}-{timeframe}-{identity[:8]}"
    path = f"models/{name}"
    folder = Path(settings.VAR_DIR) / path
    card = _existing(folder, identity)
    reused = card is not None
    if card is None:
        with network.threads(1), _telling(span), _reasoning(bars, source, params):
            trained = train(source.values, bars.close, params=params, seed=seed, progress=progress)
        weights = artefact.weights_bytes(trained.model.weights)
        card = _card(name, bars, params, seed, trained, identity, source, artefact.digest(weights))
        artefact.save(folder, card, weights)
    try:
        model = registry.register_model(card.to_json(), path=path, role=role)
    except BaseException:
        if not reused:  # a folder that no row names would be nobody's
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return {
        "name": name,
        "role": model.role,
        "reused": reused,
        "preset": preset,
        "seed": seed,
        "symbols": card.symbols,
        "timeframe": timeframe,
        "n_rows": card.n_rows,
        "n_features": len(card.feature_names),
        "folds": card.folds,
        "metrics": card.metrics,
        "trained_from": card.trained_from,
        "trained_to": card.trained_to,
        "holdout_from": card.holdout_from,
        "temperature": card.temperature,
        "notes": [*_notes(card, source, bars, params), *jumps.warnings(bars)],
        "path": str(folder),
        "elapsed_s": round(time.perf_counter() - started, 3),
    }


def _notes(card: Card, source: Source, bars: Bars, params: TrainParams) -> list[str]:
    """What a reader of the figures has to know of the model."""
    told = [WIDTH, calibration.at_bound(card.temperature)]
    if source.absent:
        without = joined_names(source.absent)
        told.append(f"The volume of {', '.join(bars.symbols)} is always 0: the model does without {without}.")
    for column, symbol in enumerate(bars.symbols):
        if symbol not in card.symbols:
            why = _why_no_row(bars, source, params, column)
            told.append(f"No row of {symbol} was trained on, and the model does not stand for it: {why}.")
    return [note for note in told if note]


def _why_no_row(bars: Bars, source: Source, params: TrainParams, column: int) -> str:
    """Why no row of a symbol is complete, with a known outcome: not always does it have too few bars."""
    close = bars.close[:, column]
    known = close[np.isfinite(close)]
    needed = source.made.warmup_bars + network.preset(params.preset).receptive_bars + params.horizon_bars
    if len(known) < needed:
        return f"it has {len(known):,} bars, and the first row takes {needed:,}"
    lacking = joined_names(never(source.values[:, column], source.made.columns))
    still = "its price never moves, so there is no move to label" if (known == known[0]).all() else ""
    whys = [still, f"it has no value of {lacking}" if lacking else ""]
    return " and ".join(filter(None, whys)) or "none is complete, with a known outcome"


@contextmanager
def _reasoning(bars: Bars, source: Source, params: TrainParams) -> Iterator[None]:
    """Where there is nothing at all to train on: why, of each symbol."""
    try:
        yield
    except NoSampleError as error:
        whys: dict[str, list[str]] = {}
        for column, symbol in enumerate(bars.symbols):
            whys.setdefault(_why_no_row(bars, source, params, column), []).append(symbol)
        told = "; ".join(f"{joined_names(symbols, 'symbols')}: {why}" for why, symbols in whys.items())
        raise DataError(f"{error} ({told})") from error


def _bars(symbols: list[str], timeframe: str, span: tuple[datetime | None, datetime | None] | None) -> Bars:
    """The adjusted bars to train on."""
    bars = adjusted(market.bar_range(symbols, timeframe, *(span or (None, None))))
    if span is None:
        bars = bars.rows(slice(0, int(bars.n_bars * TRAINING_SHARE)))
    if bars.n_bars < MIN_BARS:
        with _telling(span):
            named = f"{', '.join(symbols)} {timeframe}"
            raise DataError(f"training needs at least {MIN_BARS} bars, {named} has {bars.n_bars}")
    return bars


@contextmanager
def _telling(span: object) -> Iterator[None]:
    """Where bars are too few: which of those that are stored count."""
    try:
        yield
    except DataError as error:
        share = f" (without --timerange the first {TRAINING_SHARE:.0%} of those stored count)"
        raise DataError(f"{error}{share * (span is None)}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The features to train on: whose they are, and their values (n_bars, n_symbols, n_columns)."""

    label: str
    made: FeatureSet
    values: FloatArray
    absent: tuple[str, ...] = ()  # features that no symbol has, since no volume is known: the model does without

    @property
    def code_version(self) -> str:
        return f"features {self.label}, predict {PREDICT_VERSION}, {self.made}"


def _source(label: str | None, bars: Bars) -> Source:
    slot = Stage.FEATURES.value
    found = modules.resolve(slot) if label is None else modules.resolve_pinned(slot, label)
    tier = cast("FeaturesTier", found.implementation)
    made = tier.feature_set(bars.timeframe)
    by_timeframe = {bars.timeframe: bars}
    by_timeframe |= {name: adjusted(each) for name, each in longer(bars, made.lookback).items()}
    values = checks.checked(tier, slot, (by_timeframe,), {})
    absent = () if np.nan_to_num(bars.volume).any() else never(values, made.columns)
    if absent:
        values = without(values, np.isin(made.columns, absent))
    return Source(label=found.version, made=made, values=values, absent=absent)


def _identity(bars: Bars, params: TrainParams, seed: int, source: Source) -> str:
    """A hash of everything that decides the weights."""
    shape = network.preset(params.preset)
    total = hashlib.sha256(
        orjson.dumps([bars.symbols, bars.timeframe, asdict(params), asdict(shape), seed, source.code_version])
    )
    total.update(bars.ts.astype(np.int64).tobytes())
    for name in ("open", "high", "low", "close", "volume"):
        total.update(np.ascontiguousarray(getattr(bars, name)).tobytes())
    return total.hexdigest()


def _existing(folder: Path, identity: str) -> Card | None:
    """The card of an artifact that was made from the same things and is still as it was made and registered."""
    try:
        card = artefact.load(folder).card
    except ModelMissing:
        return None
    known = registry.registered(folder.name)
    as_registered = known is None or known.artifact_sha256 == card.sha256
    return card if card.data_sha256 == identity and as_registered else None


def _card(
    name: str,
    bars: Bars,
    params: TrainParams,
    seed: int,
    trained: Trained,
    identity: str,
    source: Source,
    weights_sha256: str,
) -> Card:
    model = trained.model
    return Card(
        name=name,
        preset=params.preset,
        feature_set=source.made.name,
        feature_version=source.made.version,
        feature_names=list(source.made.columns),
        mean=model.mean.tolist(),
        scale=model.scale.tolist(),
        prior=model.prior.tolist(),
        temperature=model.temperature,
        receptive_bars=model.config.receptive_bars,
        horizon_bars=params.horizon_bars,
        theta=params.theta,
        seed=seed,
        timeframe=bars.timeframe,
        symbols=[symbol for symbol, n_rows in zip(bars.symbols, trained.n_rows_of, strict=True) if n_rows],
        trained_from=utc(bars.ts[0]).isoformat(),
        trained_to=utc(bars.ts[-1]).isoformat(),
        n_rows=trained.n_rows,
        data_sha256=identity,
        weights_sha256=weights_sha256,
        code_version=source.code_version,
        params=asdict(params) | ({ABSENT: list(source.absent)} if source.absent else {}),
        metrics=dict(trained.metrics),
        folds=[_fold(asdict(fold), bars) for fold in trained.folds],
        holdout_from=_first_unseen(bars),
    )


def _first_unseen(bars: Bars) -> str | None:
    """When the stored history goes on after the training span: from here on a backtest is out of sample."""
    after = market.next_bar_ts(bars.symbols, bars.timeframe, utc(bars.ts[-1]))
    return after.isoformat() if after else None


def _fold(fold: dict[str, Any], bars: Bars) -> dict[str, Any]:
    """A fold with the times of its test window."""
    return {
        **fold,
        "test_from": utc(bars.ts[fold["start"]]).isoformat(),
        "test_to": utc(bars.ts[fold["end"] - 1]).isoformat(),
    }
