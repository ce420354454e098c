"""A backtest from bars to figures. Pure: bars, model, parameters and seed go in, a `Result` comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import compress

import numpy as np

from tiers.backtest import metrics, reasons
from tiers.backtest.exact import Costs, Decide, Initial, Run, actions_by_row, simulate
from tiers.backtest.history import DecisionLog, HeliosDecider, History, Progress, ServingModels, prepare
from tiers.backtest.sampling import Sampling, sampling_of
from tiers.backtest.shipped import BUILT_IN
from tiers.backtest.trades import Reduction, flat_to_flat, with_open
from tiers.backtest.weights_decider import WeightsDecider
from tiers.contracts import Bars, BarsByTimeframe, BoolArray, FloatArray, Switches, TimeArray
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import PipelineParams
from tiers.contracts.protocols import Model, Tiers
from tiers.ingest import jumps
from trading.market.adjust import adjusted
from trading.market.calendars import LONGEST_CLOSURE, Calendar
from trading.market.days import day_of
from trading.market.lots import Lot, quantity_steps
from trading.market.timestamps import stamp
from trading.strategies import BuyAndHold, Strategy
from trading.strategies.registry import TIERS

MIN_UNSEEN_BARS = 20  # fewer are not worth a number


def silent(what: str, done: int, total: int) -> None:
    """The progress report of a run that nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a run is made with, beside the bars and the model.

    Nothing in the simulator draws random numbers: `seed` names the run, and is where randomness would start.
    """

    initial: Initial = field(default_factory=Initial)
    costs: Costs = field(default_factory=Costs)
    lots: Mapping[str, Lot]
    seed: int = 0
    key: str = "backtest"  # of the order ids; the live chain uses "book:<id>"
    start_row: int = 0  # first decided bar; earlier ones only warm up
    calendars: Mapping[str, Calendar] = field(default_factory=dict)  # by symbol, as far as they are known
    currency: str = ""  # of all amounts; empty where it is not known
    trained_until: datetime | None = None  # the latest bar that any of the models has seen
    told: tuple[str, ...] = ()  # what a reader has to know of the symbols, in sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One strategy over one history. `log` is None for strategies that are not made of tiers."""

    strategy: str
    params: dict[str, object]
    symbols: tuple[str, ...]
    timeframe: str
    seed: int
    costs: Costs
    initial: Initial
    bar_ts: TimeArray  # (n_rows,) the decided bars
    run: Run
    reductions: list[Reduction]  # in their order, then what is still open
    metrics: metrics.Metrics
    sampling: Sampling
    currency: str = ""  # as in `Config`
    trained_until: datetime | None = None  # as in `Config`
    log: DecisionLog | None = None
    buy_hold: Result | None = None  # the baseline on the same bars with the same costs
    frequencies: Result | None = None  # the same tiers with the class frequencies in place of the model's forecasts
    unseen: Result | None = None  # of an account that begins at the first bar behind the training of the models
    kept: tuple[str, ...] = ()  # what kept this account from trading, in sentences
    reasons: tuple[str, ...] = ()  # that and the baseline's, and why a figure has no value

    @property
    def start(self) -> datetime:
        return self.run.ts[0]

    @property
    def end(self) -> datetime:
        return self.run.ts[-1]

    @property
    def lead(self) -> Result:
        """The run whose figures lead: that of the bars that no model was trained on, where it was made."""
        return self if self.unseen is None else self.unseen

    @property
    def n_seen(self) -> int:
        """Decided bars that a model was trained on."""
        return _n_seen(self.bar_ts, self.trained_until)

    @property
    def in_sample(self) -> bool:
        """Whether the figures that lead are of bars that a model was trained on."""
        return self.n_seen > 0 and self.unseen is None

    @property
    def baseline(self) -> Result:
        """Buy and hold; the run itself when that is what it is."""
        return self if self.buy_hold is None else self.buy_hold


def run_strategy(bars: Bars, strategy: Strategy, config: Config, *, progress: Progress = silent) -> Result:
    """A strategy that speaks in weights, and buy and hold beside it."""
    _check(bars, config)
    baseline = None if isinstance(strategy, BuyAndHold) else _weighted(bars, BuyAndHold(), config, silent)
    return _weighted(bars, strategy, config, progress, baseline)


def run_helios(
    bars: Bars,
    model: Model | ServingModels,
    config: Config,
    *,
    params: PipelineParams,
    lead_params: PipelineParams | None = None,
    switches: Switches,
    tiers: Tiers = BUILT_IN,
    progress: Progress = silent,
    longer: BarsByTimeframe | None = None,
    compared: bool = False,
) -> Result:
    """The seven tiers over history, and buy and hold beside them.

    `model` is a predictor, or a champion with its challenger and their names. `longer` holds the bars of the other
    timeframes that the tiers look at. `compared`: class frequencies go through the same tiers, too, where the models
    have cards that tell them. Where the models have seen some of the bars, those behind them are run anew, by an
    account that begins with the cash of the start (`Result.unseen`), and by `lead_params`, those of a book that begins
    there, where given: what grew on seen bars is in no figure that leads.
    Orders are sent whatever `auto_trading` says, as in a replay: nothing here can reach a venue.
    """
    _check(bars, config)
    served = model if isinstance(model, ServingModels) else ServingModels(champion=model)
    history = prepare(
        {name: adjusted(each) for name, each in {bars.timeframe: bars, **(longer or {})}.items()},
        served,
        params=params,
        switches=switches,
        start_row=config.start_row,
        progress=progress,
        tiers=tiers,
    )
    made = partial(_of_tiers, bars, history, served, params=params, switches=switches, tiers=tiers)
    begin = lead_row(bars, config)
    if begin == config.start_row:
        return made(config, progress, compared=compared)
    anew = made(replace(config, start_row=begin), silent, compared=compared, params=lead_params or params)
    whole = made(config, progress)
    stopped = reasons.beside("With bars seen in training", reasons.of_states(whole.run))
    return replace(whole, unseen=replace(anew, reasons=(*anew.reasons, *stopped)))


def lead_row(bars: Bars, config: Config) -> int:
    """The row with which the bars that lead begin: the first that no model has seen, or the first that is decided."""
    seen = _n_seen(bars.ts[config.start_row :], config.trained_until)
    return config.start_row + (seen if seen <= bars.n_bars - config.start_row - MIN_UNSEEN_BARS else 0)


def have_bars_from(bars: Bars, start_row: int) -> BoolArray:
    """(n_symbols,) whether a symbol has a bar from that row on."""
    return np.asarray(np.isfinite(bars.close[start_row:]).any(axis=0))


def not_ended(bars: Bars, row: int) -> tuple[str, ...]:
    """The symbols that have not ended at that row."""
    recent = int(np.searchsorted(bars.ts, bars.ts[row] - np.timedelta64(LONGEST_CLOSURE)))
    return tuple(compress(bars.symbols, have_bars_from(bars, recent)))


def _of_tiers(
    bars: Bars,
    history: History,
    served: ServingModels,
    config: Config,
    progress: Progress,
    *,
    params: PipelineParams,
    switches: Switches,
    tiers: Tiers,
    compared: bool = False,
) -> Result:
    """The tiers from `config.start_row` on, and what is asked for beside them."""
    decide = partial(
        HeliosDecider,
        adjusted(bars),
        params=params,
        switches=switches,
        lots=config.lots,
        key=config.key,
        served=served,
        start_row=config.start_row,
        tiers=tiers,
    )
    decider = decide(history)
    run = _simulate(bars, decider, config, progress)
    baseline = _weighted(bars, BuyAndHold(), config, silent)
    prior = _priors(served.models(bars.symbols, switches.neural_network_v2)) if compared else None
    frequencies = None
    if prior is not None:
        known = np.isfinite(history.probability)
        naive = _simulate(bars, decide(replace(history, probability=np.where(known, prior, np.nan))), config, silent)
        frequencies = _result(naive, bars, config, strategy="class frequencies", params={}, baseline=baseline)
    columns = tiers.features.feature_set(bars.timeframe).columns
    used = replace(params, portfolio=params.portfolio.held_for(history.horizon_bars))
    models = dict.fromkeys(served.names(bars.symbols, switches.neural_network_v2))
    named: dict[str, object] = {"model": ", ".join(models), **used.to_json()}
    made = _result(run, bars, config, strategy=TIERS, params=named, baseline=baseline, log=decider.log, columns=columns)
    if frequencies is None:
        return made
    stopped = reasons.beside("Class frequencies", reasons.of_states(frequencies.run))
    return replace(made, frequencies=frequencies, reasons=(*made.reasons, *stopped))


def _n_seen(ts: TimeArray, trained_until: datetime | None) -> int:
    return 0 if trained_until is None else int(np.searchsorted(ts, stamp(trained_until), side="right"))


def _priors(models: Sequence[Model]) -> FloatArray | None:
    """(n_symbols, 3) class frequencies in the training of the model of each symbol; None where one has no card."""
    cards = [getattr(model, "card", None) for model in models]
    return None if None in cards else np.array([card.prior for card in cards if card is not None])


def _check(bars: Bars, config: Config) -> None:
    missing = [symbol for symbol in bars.symbols if symbol not in config.lots]
    if missing:
        raise DataError(f"lots must name every symbol, missing: {', '.join(missing)}")
    if bars.n_bars - config.start_row < 2:
        raise DataError(f"a backtest needs at least 2 bars after its warm-up, were {bars.n_bars - config.start_row}")


def _weighted(
    bars: Bars, strategy: Strategy, config: Config, progress: Progress, baseline: Result | None = None
) -> Result:
    """A strategy that speaks in weights, of the symbols that have a bar to decide on: no money waits for another."""
    present = have_bars_from(bars, config.start_row)
    weights = np.full(bars.close.shape, np.nan)
    weights[:, present] = strategy.weights(adjusted(bars).close[:, present], start_row=config.start_row)
    _say_again(weights, bars)
    of = config.initial.cash if isinstance(strategy, BuyAndHold) else None
    decider = WeightsDecider(weights, name=strategy.name, lots=config.lots, key=config.key, of=of)
    run = _simulate(bars, decider, config, progress, decider.decided)
    return _result(run, bars, config, strategy=strategy.name, params=dict(strategy.params), baseline=baseline)


def _say_again(weights: FloatArray, bars: Bars) -> None:
    """Repeat at the first bar behind a split what was wanted at the bar before it: the order of that one ends."""
    for row, actions in actions_by_row(bars).items():
        for action in filter(lambda each: each.is_split, actions):
            column = bars.symbols.index(action.symbol)
            before = np.flatnonzero(np.isfinite(bars.close[:row, column]))[-1:]
            if len(before) and np.isnan(weights[row, column]):
                weights[row, column] = weights[before[0], column]


def _simulate(bars: Bars, decide: Decide, config: Config, progress: Progress, decided: BoolArray | None = None) -> Run:
    return simulate(
        bars,
        decide,
        initial=config.initial,
        costs=config.costs,
        steps=quantity_steps(config.lots),
        start_row=config.start_row,
        decided=decided,
        report=lambda done, total: progress("decisions", done, total),
    )


def _result(
    run: Run,
    bars: Bars,
    config: Config,
    *,
    strategy: str,
    params: dict[str, object],
    baseline: Result | None = None,
    log: DecisionLog | None = None,
    columns: Sequence[str] = (),
) -> Result:
    reductions = with_open(run.moves, run.prices, run.ts[-1])
    curve = run.equity_curve
    held = curve if baseline is None else baseline.run.equity_curve
    decided = bars.rows(slice(config.start_row, None))
    sampling = sampling_of(decided, config.calendars)
    figures = metrics.measure(
        ts=decided.ts,
        equity=curve,
        weights=run.held,
        pnl=[pnl for _, pnl in flat_to_flat(reductions)],
        reduction_pnl=[one.pnl for one in reductions if not one.is_open],
        traded_notional=run.traded_notional,
        fees_paid=run.fees_paid,
        buy_hold_return_pct=100.0 * metrics.total_return(held),
        sampling=sampling,
    )
    kept = tuple(reasons.of_run(run, bars, config.lots, log=log, columns=columns))
    beside = () if baseline is None else reasons.beside("Buy and hold", [s for s in baseline.kept if s not in kept])
    return Result(
        strategy=strategy,
        params=params,
        symbols=bars.symbols,
        timeframe=bars.timeframe,
        seed=config.seed,
        costs=config.costs,
        initial=config.initial,
        bar_ts=decided.ts,
        run=run,
        reductions=reductions,
        sampling=sampling,
        currency=config.currency,
        trained_until=config.trained_until,
        metrics=figures,
        log=log,
        buy_hold=baseline,
        kept=kept,
        reasons=(
            *config.told,
            *jumps.warnings(bars),
            *kept,
            *reasons.of_actions(run, config.currency),
            *beside,
            *reasons.of_idle_cash(run if baseline is None else baseline.run, config.currency),
            *reasons.of_gaps(decided, config.calendars, sampling),
            *reasons.of_metrics(figures),
        ),
    )


def monthly_returns(result: Result) -> dict[tuple[int, int], float]:
    """Return of each calendar month (UTC) by (year, month); the first one counts from the initial cash.

    A bar that closes at midnight belongs to the day, and the month, that end there.
    """
    closing: dict[tuple[int, int], float] = {}
    for moment, value in zip(result.run.ts, result.run.equity_curve, strict=True):
        day = day_of(moment)
        closing[day.year, day.month] = float(value)
    values = np.array([float(result.initial.cash), *closing.values()])
    return dict(zip(closing, (values[1:] / values[:-1] - 1.0).tolist(), strict=True))
