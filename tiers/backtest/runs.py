"""Backtests from the tables: what a request needs is loaded, checked and handed to the pure engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from helios import flags
from helios.modules import process as modules
from helios.modules.loading import ActiveModule
from tiers.backtest import engine, evidence, reasons, report
from tiers.backtest.engine import Config
from tiers.backtest.exact import Costs, Initial
from tiers.backtest.history import Progress, ServingModels, warmup_bars
from tiers.backtest.outcome import Outcome
from tiers.contracts import Bars
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import PipelineParams
from tiers.contracts.protocols import Tiers
from tiers.contracts.switches import decide
from tiers.contracts.switches import to_json as switches_to_json
from tiers.predict import calibration
from tiers.predict.metrics import LABELS
from trading.market import instruments
from trading.market import read as market
from trading.market.bars import joined
from trading.market.calendars import Calendar
from trading.market.days import day_of
from trading.market.timeframes import seconds
from trading.market.timestamps import utc
from trading.models import MLModel, Stage
from trading.registry import artefacts
from trading.registry import read as registry
from trading.strategies import registry as strategies

STRATEGIES = (strategies.TIERS, *strategies.STRATEGIES)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; `start` and `end` are UTC and inclusive, None leaves that side open."""

    strategy: str
    symbols: tuple[str, ...]
    timeframe: str
    start: datetime | None
    end: datetime | None
    costs: Costs
    initial: Initial
    seed: int
    windows: Mapping[str, int] = field(default_factory=dict)  # of sma_cross, in bars, over the usual ones
    export: Path | None = None
    params: Mapping[str, Any] = field(default_factory=dict)  # of the tiers, over the usual ones


def run(request: Request, *, progress: Progress = engine.silent) -> Outcome:
    """Check all that can be checked, then load, then run; with `export` the report is written at the end.

    `DataError`, `ModelMissing` or `Rejected` say in one sentence what is missing, before any work is done.
    """
    began = time.perf_counter()
    check(request)
    if request.export is not None:
        report.ensure_writable(request.export)
    outcome = _helios(request, progress) if request.strategy == strategies.TIERS else _simple(request, progress)
    outcome = replace(outcome, elapsed_s=time.perf_counter() - began)
    if request.export is not None:
        progress("writing the report", 0, 1)
        report.write(request.export, report.render(outcome.result, context_of(outcome)))
    return outcome


def check(request: Request) -> None:
    """Raise `DataError` for a strategy, timeframe or list of symbols that does not exist, or of several currencies.

    `Rejected` names a window that the strategy does not have.
    """
    if request.strategy not in STRATEGIES:
        raise DataError(f"strategy must be one of {', '.join(STRATEGIES)}, was {request.strategy!r}")
    strategies.label(request.strategy, request.windows)
    seconds(request.timeframe)
    if request.params and request.strategy != strategies.TIERS:
        raise DataError(f"--params are those of {strategies.TIERS}, were given to {request.strategy}")
    if not request.symbols:
        raise DataError("a backtest needs at least one symbol, there was none")
    instruments.currency(request.symbols, instruments.named(request.symbols))


# --- the strategies ---


def _simple(request: Request, progress: Progress) -> Outcome:
    strategy = strategies.make(request.strategy, request.windows)
    bars, start_row = load(request, warmup=strategy.warmup_bars, shortest=0)
    result = engine.run_strategy(bars, strategy, _config(request, start_row), progress=progress)
    return Outcome(result=replace(result, reasons=(*result.reasons, reasons.OF_A_STRATEGY)))


def _helios(request: Request, progress: Progress) -> Outcome:
    active = active_modules()
    tiers = _tiers(active)
    made = tiers.features.feature_set(request.timeframe)
    champion = registry.champion(request.timeframe, made.name, made.version, request.symbols)
    switches = decide(flags.asking(strategy="backtest"), request.symbols, {"auto_trading": True})
    tried = registry.challenger(request.timeframe, made.name, made.version, request.symbols)
    challenger = tried if switches.neural_network_v2 else None
    served = serving(champion, challenger, tiers)
    whole = _params(request, request.symbols)
    warmup = warmup_bars(whole, request.timeframe, receptive_bars=served.receptive_bars, tiers=tiers)
    blind = made.warmup_bars + served.receptive_bars
    bars, start_row = load(request, warmup=warmup[request.timeframe], shortest=blind)
    names = served.names(request.symbols, switches.neural_network_v2)
    models = {
        model: symbols
        for model in (champion, challenger)
        if model is not None
        and (symbols := tuple(s for s, name in zip(request.symbols, names, strict=True) if name == model.name))
    }
    config = replace(
        _config(request, start_row, [registry.unseen(model, symbols) for model, symbols in models.items()]),
        trained_until=max(model.trained_to for model in models),
    )
    result = engine.run_helios(
        bars,
        served,
        config,
        params=_params(request, engine.not_ended(bars, start_row)),
        lead_params=_params(request, engine.not_ended(bars, engine.lead_row(bars, config))),
        switches=switches,
        tiers=tiers,
        progress=progress,
        longer=longer(bars, warmup),
        compared=True,
    )
    return Outcome(
        result=result,
        models=models,
        switches=switches,
        modules=active,
        own=request.params,
        evidence=evidence.of(result, bars, served.models(request.symbols, switches.neural_network_v2)),
    )


def _params(request: Request, symbols: tuple[str, ...]) -> PipelineParams:
    """The parameters of a book of these symbols."""
    named = instruments.named(symbols)
    return PipelineParams.of(
        request.timeframe,
        closes=instruments.market_closes(symbols, named),
        around_the_clock=instruments.around_the_clock(symbols, named),
        cost_bps=float(request.costs.fee_bps + request.costs.slippage_bps),
        own=request.params,
    )


def serving(champion: MLModel, challenger: MLModel | None, tiers: Tiers) -> ServingModels:
    """The models as the predict module loads them."""
    return ServingModels(
        champion=artefacts.loaded(champion, tiers.predict.load),
        champion_name=champion.name,
        challenger=None if challenger is None else artefacts.loaded(challenger, tiers.predict.load),
        challenger_name="" if challenger is None else challenger.name,
    )


def active_tiers() -> Tiers:
    """The modules that stand for the tiers now, the same that a live cycle would call."""
    return _tiers(active_modules())


def active_modules() -> dict[str, ActiveModule]:
    """The same with their names and versions, by tier."""
    stages = (Stage.FEATURES, Stage.PREDICT, Stage.RISK, Stage.LLM, Stage.PORTFOLIO, Stage.EXECUTE)
    return {stage.value: modules.resolve(stage.value) for stage in stages}


def _tiers(active: Mapping[str, ActiveModule]) -> Tiers:
    implementations: dict[str, Any] = {name: one.implementation for name, one in active.items()}
    return Tiers(**implementations)


def _config(request: Request, start_row: int, told: Sequence[str] = ()) -> Config:
    named = instruments.named(request.symbols)
    return Config(
        initial=request.initial,
        costs=request.costs,
        lots=instruments.lots(named),
        calendars={symbol: Calendar(name) for symbol, name in instruments.calendars(named).items()},
        currency=instruments.currency(request.symbols, named),
        seed=request.seed,
        start_row=start_row,
        told=tuple(filter(None, (*told, instruments.of_no_currency(request.symbols, named)))),
    )


# --- the bars ---


def load(request: Request, *, warmup: int, shortest: int) -> tuple[Bars, int]:
    """The bars of a request and the row of its first decision.

    With a start, up to `warmup` own bars of each symbol before it come along, as a live window would hold
    them. Without one, the first `shortest` bars, in which the model cannot speak yet, are left to warm up.
    """
    bars = market.bar_range(request.symbols, request.timeframe, request.start, request.end)
    if request.start is None:
        return bars, shortest if bars.n_bars > 2 * shortest else 0
    if warmup == 0:
        return bars, 0
    before = market.plain_window(
        request.symbols, request.timeframe, request.start - MICROSECOND, warmup, at_least_one=False
    )
    return joined(before, bars), before.n_bars


def longer(bars: Bars, wanted: Mapping[str, int]) -> dict[str, Bars]:
    """The bars of the other timeframes, from the first row's window on up to what had closed at the last row."""
    first, last = utc(bars.ts[0]), utc(bars.ts[-1])
    found = {}
    for timeframe, n_bars in wanted.items():
        if timeframe != bars.timeframe:
            before = market.plain_window(bars.symbols, timeframe, first, n_bars, at_least_one=False)
            after = market.bar_range(bars.symbols, timeframe, first + MICROSECOND, last, at_least_one=False)
            found[timeframe] = joined(before, after)
    return found


# --- the report ---


def context_of(outcome: Outcome) -> report.Context:
    """What the report says beside the result."""
    switches = switches_to_json(outcome.switches) if outcome.switches is not None else {}
    return report.Context(
        made_at=datetime.now(UTC),
        elapsed_s=outcome.elapsed_s,
        models=[summary_of(model, label) for model, label in outcome.labels.items()],
        says=outcome.says,
        evidence=outcome.evidence,
        modules=list(outcome.versions.items()),
        switches=[(name, _flag(value)) for name, value in switches.items() if name != "auto_trading"],
    )


def summary_of(model: MLModel, label: str) -> report.ModelSummary:
    """A model's card in a few lines."""
    facts = [
        ("preset", model.preset),
        ("features", model.feature_set),
        ("horizon", f"{model.horizon_bars} bars"),
        ("trained on", f"{', '.join(model.symbols)} {model.timeframe}"),
        ("training data", f"{day_of(model.trained_from)} to {day_of(model.trained_to)}"),
        ("seed of its training", str(model.seed)),
        ("temperature", _temperature(model)),
        ("artifact", f"sha256 {model.artifact_sha256[:12]}…"),
    ]
    numbers = {name: value for name, value in _flat(model.metrics).items() if isinstance(value, int | float)}
    figures = [(name, f"{value:,.4g}") for name, value in numbers.items()]
    return report.ModelSummary(name=label, trained_to=model.trained_to, facts=facts, figures=figures)


def _temperature(model: MLModel) -> str:
    found = model.card.get("temperature")
    return "unknown" if found is None else " ".join(filter(None, [f"{found:.3g}", calibration.at_bound(found)]))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Figures by their labels, in the order of these: the database keeps another one."""
    found: dict[str, Any] = {}
    for name in sorted(values, key=[*LABELS, *values].index):
        value = values[name]
        label = LABELS.get(name, name.replace("_", " "))
        found |= _flat(value, f"{label}: ") if isinstance(value, dict) else {f"{prefix}{label}": value}
    return found


def _flag(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(value) or "no symbol" if isinstance(value, list) else str(value)
