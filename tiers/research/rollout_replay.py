"""Champion and challenger over the same stored history: the provider named by `settings.ROLLOUT_REPLAY`.

Both arms decide for the whole book, each with its own account, by the code of the backtest. A challenger that raises is
replaced by the champion for that call, as in a live cycle, and the call counts as failed. Judged are the bars behind
the training of every model that serves the book; where those are too few, the seen ones come along and are counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from helios.errors import error_text
from helios.liveness import told_to_end
from helios.modules import process as modules
from helios.rollouts.core.assignment import Arm, Assignment, Kind
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.models import Rollout
from tiers.backtest import engine, runs
from tiers.backtest.engine import Config, Result
from tiers.backtest.evidence import MIN_BARS
from tiers.backtest.exact import Costs, Initial
from tiers.backtest.history import ServingModels, warmup_bars
from tiers.challenge import checks, observations
from tiers.challenge.arms import private_copy
from tiers.challenge.observations import Observation
from tiers.contracts import Bars, FloatArray, TargetWeights, adjusted
from tiers.contracts.ended import ended
from tiers.contracts.errors import DataError, Rejected
from tiers.contracts.feature_sets import joined_lookbacks, until
from tiers.contracts.parameters import rows_a_day
from tiers.contracts.protocols import Replaced, Tiers
from tiers.live import book_params, book_strategy, cycle_flags, inference, lookback
from tiers.live.book_strategy import Allocation
from tiers.predict import labels
from trading.books.read import last_bar
from trading.market import instruments, timeline
from trading.market.timestamps import stamp
from trading.models import Book, MLModel, Stage
from trading.registry import read as registry
from trading.strategies.registry import TIERS

N_BARS = 250  # decided bars of a replay; fewer where fewer are stored, or unseen, but at least MIN_BARS of these
N_PROBES = 20  # calls of the size of a live one, to time a stage that a backtest runs in one batch
BATCHED = (Stage.FEATURES.value, Stage.PREDICT.value)
Run = Callable[..., Any]


@dataclass(slots=True)
class TimedArm:
    """An arm's module with the time of each call of its `run`; `instead` answers where that raises."""

    tier: Any
    stage: str
    instead: Run | None = None
    latency_ms: list[float] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)
    errors: set[str] = field(default_factory=set)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tier, name)

    def run(self, *args: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            inputs = (
                [private_copy(value) for value in args],
                {name: private_copy(value) for name, value in named.items()},
            )
            result = checks.checked(self.tier, self.stage, tuple(inputs[0]), inputs[1])
        except BaseException as error:
            if self.instead is None or told_to_end(error):
                raise
            self.errors.add(error_text(error))
            self._note(started, failed=True)
            return self.instead(*args, **named)
        self._note(started, failed=False)
        return result

    def _note(self, started: float, *, failed: bool) -> None:
        self.latency_ms.append((time.perf_counter() - started) * 1e3)
        self.failed.append(failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayData:
    """What both arms are run on."""

    book: Book
    bars: Bars
    adjusted: Bars  # once, for all windows of decisions
    longer: dict[str, Bars]
    start_row: int
    listed: Collection[str]  # had not ended when the replay begins
    served: ServingModels
    n_seen: int  # of the decided bars, those that a model was trained on
    window_bars: int  # own bars that tier 6 sees in a live cycle


def replay(rollout: Rollout) -> dict[str, ArmMeasures]:
    """Both arms over the last bars that the rollout's book has reached.

    `Rejected` where the stage cannot be replayed or there is no book; `DataError`, `ModelMissing` say what is missing.
    """
    if rollout.kind == Kind.MODULE and rollout.target == Stage.INGEST.value:
        raise Rejected("ingest reads a venue, which a replay of stored bars does not have: begin with a shadow step")
    data = _replay_data(rollout)
    stage = Stage.PORTFOLIO.value if rollout.kind == Kind.STRATEGY else rollout.target
    own, other = _arms(rollout, data, stage)
    observed: list[Observation] = []
    for arm, timed in ((Arm.CHAMPION, own), (Arm.CHALLENGER, other)):
        result = _result(data, replace(_tiers(data), **{stage: timed}))
        observed += _observations(arm.value, data, result, timed, forecasts=stage in BATCHED)
    both = observations.measures(observed)
    return {
        arm.value: replace(
            both[arm.value],
            n_bars=data.bars.n_bars - data.start_row,
            n_seen=data.n_seen,
            latency_ms=_probed(timed, data, stage) if stage in BATCHED else both[arm.value].latency_ms,
        )
        for arm, timed in ((Arm.CHAMPION, own), (Arm.CHALLENGER, other))
    }


# --- what is run ---


def _book(rollout: Rollout) -> Book:
    """The book of a strategy; else the first of the rollout's books, an active one, or the newest."""
    names = [rollout.target] if rollout.kind == Kind.STRATEGY else rollout.books
    books = Book.objects.filter(name__in=names) if names else Book.objects.all()
    found = books.order_by("-active", "-id").first()
    if found is None:
        raise Rejected(f"a replay needs a book, there is none{' of ' + ', '.join(names) if names else ''}")
    return found


def _replay_data(rollout: Rollout) -> ReplayData:
    book, tiers = _book(rollout), runs.active_tiers()
    strategies = [book_strategy.serving(book)]
    if rollout.kind == Kind.STRATEGY:
        strategies.append((rollout.challenger, rollout.params))
    needed = book_strategy.bars_needed(strategies)
    made = tiers.features.feature_set(book.timeframe)
    champion = inference.model_for(book, made)
    challenger = registry.challenger(book.timeframe, made.name, made.version, book.symbols)
    served = runs.serving(champion, challenger, tiers)
    times, n_seen = _decided(book, _trained_to(book, champion, challenger))
    params = book_params.params_of(book)
    of_tiers = warmup_bars(params, book.timeframe, receptive_bars=served.receptive_bars, tiers=tiers)
    warmup = joined_lookbacks(of_tiers, {book.timeframe: needed})
    request = runs.Request(
        strategy=TIERS,
        symbols=tuple(book.symbols),
        timeframe=book.timeframe,
        start=times[0],
        end=times[-1],
        costs=Costs(fee_bps=book.fee_bps, slippage_bps=book.slippage_bps),
        initial=Initial(cash=book.initial_cash),
        seed=0,
    )
    bars, start_row = runs.load(request, warmup=warmup[book.timeframe], shortest=0)
    longer = runs.longer(bars, warmup)
    return ReplayData(
        book=book,
        bars=bars,
        adjusted=adjusted(bars),
        longer=longer,
        start_row=start_row,
        listed=engine.not_ended(bars, start_row),
        served=served,
        n_seen=n_seen,
        window_bars=max(needed, lookback.close_bars(params, book.timeframe)),
    )


def _trained_to(book: Book, champion: MLModel, challenger: MLModel | None) -> datetime:
    """The last bar that any of the models was trained on which serve a symbol of the book."""
    chosen = () if challenger is None else cycle_flags.read(book).neural_network_v2
    served = {challenger if challenger and symbol in chosen else champion for symbol in book.symbols}
    return max(model.trained_to for model in served)


def _decided(book: Book, trained_to: datetime) -> tuple[list[datetime], int]:
    """The bars to decide on, and how many of them a model was trained on."""
    reached = _reached(book)
    times = [ts for ts in timeline.bar_times(book.symbols, book.timeframe) if reached is None or ts <= reached]
    if len(times) < 3:
        raise DataError(f"a replay needs at least 3 bars that book {book.name!r} has reached, there are {len(times)}")
    last = times[1:][-N_BARS:]
    unseen = [ts for ts in last if ts > trained_to]
    return (unseen, 0) if len(unseen) >= MIN_BARS else (last, len(last) - len(unseen))


def _reached(book: Book) -> datetime | None:
    """The last bar that a book on history may know of; None: all that are stored."""
    if book.mode != Book.Mode.REPLAY:
        return None
    return last_bar(book) or book.replay_from


def _tiers(data: ReplayData) -> Tiers:
    """The modules in use, with the strategy of the book where it has one."""
    active = runs.active_tiers()
    if not data.book.strategy:
        return active
    own = active.portfolio

    def run(**inputs: Any) -> TargetWeights:
        return _allocation(data, inputs).serving(own.run(**inputs))

    return replace(active, portfolio=Replaced(own, run=run))


def _arms(rollout: Rollout, data: ReplayData, stage: str) -> tuple[TimedArm, TimedArm]:
    serving = getattr(_tiers(data), stage)
    if rollout.kind == Kind.STRATEGY:
        tiers_own = runs.active_tiers().portfolio
        assignment = Assignment(
            rollout_id=rollout.pk,
            kind=rollout.kind,
            target=rollout.target,
            champion=rollout.champion,
            challenger=rollout.challenger,
            mode="replay",
            step=rollout.step,
            percentage=100,
            symbols=tuple(data.book.symbols),
            params=rollout.params,
        )

        def strategy(**inputs: Any) -> TargetWeights:
            allocation = _allocation(data, inputs)
            allocation.serving(tiers_own.run(**inputs))
            return allocation.challenging(assignment)

        return TimedArm(serving, stage), TimedArm(Replaced(serving, run=strategy), stage, instead=serving.run)
    challenger = modules.resolve_pinned(stage, rollout.challenger).implementation
    return TimedArm(serving, stage), TimedArm(challenger, stage, instead=serving.run)


def _allocation(data: ReplayData, inputs: dict[str, Any]) -> Allocation:
    """Tier 6 at the bar of its inputs, with the window that a live cycle would load."""
    view = inputs["book"]
    row = int(np.searchsorted(data.bars.ts, stamp(view.bar_ts)))
    first = _first_row(data.adjusted.close[: row + 1], data.window_bars)
    return Allocation(
        book=data.book,
        bars=data.adjusted.rows(slice(first, row + 1)),
        risk=inputs["risk"],
        view=view,
        returns=inputs["returns"],
        params=inputs["params"],
        listed=data.listed,
    )


def _first_row(close: FloatArray, n_own: int) -> int:
    """The last row from which on each symbol has `n_own` bars, or all that it has."""
    own = np.cumsum(np.isfinite(close[::-1]), axis=0)[::-1]
    return max(0, int((own >= n_own).sum(axis=0).min()) - 1)


def _result(data: ReplayData, tiers: Tiers) -> Result:
    book = data.book
    return engine.run_helios(
        data.bars,
        data.served,
        Config(
            initial=Initial(cash=book.initial_cash),
            costs=Costs(fee_bps=book.fee_bps, slippage_bps=book.slippage_bps),
            lots=instruments.lots(instruments.named(book.symbols)),
            start_row=data.start_row,
        ),
        params=book_params.params_of(book),
        switches=cycle_flags.read(book),
        tiers=tiers,
        longer=data.longer,
    )


# --- what came of it ---


def _observations(arm: str, data: ReplayData, result: Result, timed: TimedArm, *, forecasts: bool) -> list[Observation]:
    run, symbols = result.run, data.bars.symbols
    equity = run.equity_curve
    value = run.held * equity[:, None]
    earned = (value[1:] - value[:-1] + _flows(result)[1:]) / equity[:-1, None] * observations.BPS
    losses = _losses(data, result) if forecasts else None
    of_these = [symbol for symbol in symbols if symbol in data.listed]
    open_always = instruments.around_the_clock(of_these, instruments.named(symbols))
    both = 0 < len(open_always) < len(of_these)
    a_day = rows_a_day(data.book.timeframe, closes=not open_always, both=both)
    begun = np.isfinite(data.bars.close).cumsum(axis=0) > 0
    listed = (begun & ~ended(data.bars))[data.bars.n_bars - len(run.ts) :]
    observed = []
    for row in range(len(run.ts)):
        calls = slice(None) if forecasts else slice(row, row + 1)  # a batch is one call, or one for each model
        for column, symbol in enumerate(symbols):
            loss = None if losses is None or np.isnan(losses[row, column]) else float(losses[row, column])
            observed.append(
                Observation(
                    arm=arm,
                    book=data.book.pk,
                    cycle=row,
                    symbol=symbol,
                    decided=bool(listed[row, column]),
                    failed=any(timed.failed[calls]),
                    latency_ms=next(iter(timed.latency_ms[calls]), None),
                    weight=float(run.held[row, column]),
                    pnl_bps=float(earned[row, column]) if row < len(earned) and listed[row, column] else None,
                    loss=loss,
                    n_orders=sum(intent.symbol == symbol for intent in run.orders[row]),
                    rows_a_day=a_day,
                )
            )
    return observed


def _flows(result: Result) -> FloatArray:
    """(n_rows, n_symbols) cash of the fills, splits and dividends in each row."""
    place = {symbol: column for column, symbol in enumerate(result.symbols)}
    flows = np.zeros(result.run.held.shape)
    for row, (booked, fills) in enumerate(zip(result.run.booked, result.run.fills, strict=True)):
        for each in booked:
            flows[row, place[each.symbol]] += float(each.cash)
        for fill in fills:
            flows[row, place[fill.symbol]] += float(fill.cash_flow)
    return flows


def _losses(data: ReplayData, result: Result) -> FloatArray | None:
    """(n_rows, n_symbols) log loss of each forecast at the horizon of the model that made it, NaN where unknown."""
    if result.log is None:
        return None
    chosen = cycle_flags.read(data.book).neural_network_v2
    models = data.served.models(data.bars.symbols, chosen)
    outcome = np.stack([_outcome(data, model, column) for column, model in enumerate(models)], axis=1)
    probability = result.log.probability
    said_of = np.take_along_axis(probability, np.maximum(outcome, 0)[:, :, None].astype(np.int64), axis=2)[:, :, 0]
    losses: FloatArray = -np.log(np.maximum(said_of, observations.LEAST_PROBABILITY))
    return np.where(outcome == labels.UNKNOWN, np.nan, losses)


def _outcome(data: ReplayData, model: Any, column: int) -> npt.NDArray[np.int8]:
    """(n_rows,) what came of a symbol, by the labels that the model was trained on."""
    card, close = getattr(model, "card", None), data.adjusted.close[:, [column]]
    bars = None if card is None else card.params.get("volatility_bars")
    if card is None or not bars:
        return np.full(len(close) - data.start_row, labels.UNKNOWN, dtype=np.int8)
    made = labels.make(close, horizon_bars=card.horizon_bars, theta=card.theta, volatility_bars=int(bars))
    return made.outcome[data.start_row :, 0]


def _probed(timed: TimedArm, data: ReplayData, stage: str) -> tuple[float, ...]:
    """Milliseconds of calls of a live size."""
    n_bars, last = data.bars.n_bars, min(N_PROBES, data.bars.n_bars - 1)
    receptive = data.served.receptive_bars
    bars = {name: adjusted(each) for name, each in {data.bars.timeframe: data.bars, **data.longer}.items()}
    features = None if stage == Stage.FEATURES else runs.active_tiers().features.run(bars)
    del timed.latency_ms[:]
    for row in range(n_bars - last, n_bars):
        if features is None:
            timed.run(_window(timed, bars, data.bars.ts[row], receptive))
        else:
            timed.run(data.served.champion, features[max(0, row + 1 - receptive) : row + 1])
    return tuple(timed.latency_ms)


def _window(timed: TimedArm, bars: dict[str, Bars], last: np.datetime64, receptive: int) -> dict[str, Bars]:
    """What a live cycle would load for the features of the bar that closed at `last`."""
    wanted = timed.tier.feature_set(next(iter(bars))).lookback
    closed = until(bars, last)
    return {
        name: closed[name].rows(slice(max(0, closed[name].n_bars - n_bars - receptive), None))
        for name, n_bars in wanted.items()
        if name in closed
    }
