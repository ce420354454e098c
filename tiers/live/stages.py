"""The seven stages on live data: load a window, call the same pure function as the backtest, save the last row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import numpy as np
from loguru import logger

from helios.env import get_env
from tiers.challenge import arms, book_strategy, merge, merge_orders, record
from tiers.challenge.arms import Answer
from tiers.contracts import (
    Bars,
    BookView,
    FloatArray,
    RiskDecision,
    TargetWeights,
    TradingState,
    VolatilityForecast,
)
from tiers.contracts.errors import ModelMissing
from tiers.contracts.parameters import VolatilityParams
from tiers.execute.plan import Lot, Plan
from tiers.features.catalog import FEATURE_SET, NAMES
from tiers.features.catalog import WINDOW_BARS as FEATURE_WINDOW
from tiers.live import analyst, inference, store, windows
from tiers.live.analyst import Reply
from tiers.live.inference import Outcome
from tiers.live.intake import ingest
from tiers.live.stage_context import Handler, Skip, StageContext, StageResult, of_arms, params_of
from tiers.llm import market_context
from tiers.llm.enforce import enforce
from tiers.portfolio.returns import window_returns
from tiers.risk import volatility as vol
from tiers.risk.garch import FitCache
from trading.books import write as books
from trading.market import read as market
from trading.market.write import lock_bars_shared
from trading.models import Book, Instrument, PipelineCycle, Stage
from trading.orders import outbox

FIT_CACHE: FitCache = {}  # fits of this process, keyed by their input; it spares time and never changes a value
MAX_CACHED_FITS = 4_096


# --- 2 features ---


def features(ctx: StageContext) -> StageResult:
    """Compute the features of this bar, and of the bars before it that the model needs and that are missing."""
    book = ctx.book
    needed = inference.receptive_bars(book)
    lock_bars_shared(book.symbols)
    bars = market.bar_window(book.symbols, book.timeframe, ctx.bar_ts, FEATURE_WINDOW + needed)
    answer: Answer[FloatArray] = arms.ask(ctx.cycle, Stage.FEATURES, lambda run: run(bars))
    values = answer.whole()
    record.record(
        ctx.cycle,
        answer,
        lambda found: record.of_book(book.symbols, {"missing_values": int(np.isnan(found[-1]).sum())}),
    )
    rows = _feature_rows(bars, values, needed)
    times = [ts for _, ts, _ in rows]
    version = answer.version(ctx.cycle.modules[Stage.FEATURES])
    made = store.FeatureVersion(timeframe=book.timeframe, feature_set=FEATURE_SET, version=version)
    stored = store.stored_feature_times(made, book.symbols, min(times), max(times))
    written = store.save_features(made, [row for row in rows if (row[0], row[1]) not in stored])
    newest = values[-1]
    return StageResult(
        summary={
            "rows": written,
            "missing_values": int(np.isnan(newest).sum()),
            "feature_set": FEATURE_SET,
            **of_arms(answer),
        },
        version=version,
    )


def features_of(cycle: PipelineCycle) -> store.FeatureVersion:
    """Whose features a cycle is served by."""
    version = cycle.stage_runs.values_list("module_version", flat=True).get(stage=Stage.FEATURES)
    return store.FeatureVersion(timeframe=cycle.timeframe, feature_set=FEATURE_SET, version=version)


def _feature_rows(bars: Bars, values: FloatArray, needed: int) -> list[tuple[str, datetime, FloatArray]]:
    """The last `needed` own rows of each symbol."""
    rows = []
    for column, symbol in enumerate(bars.symbols):
        own = np.flatnonzero(~np.isnan(bars.close[:, column]))[-needed:]
        rows += [(symbol, utc(bars.ts[row]), values[row, column]) for row in own]
    return rows


def utc(stamp: np.datetime64) -> datetime:
    """A NumPy time as an aware datetime in UTC."""
    moment: datetime = stamp.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


# --- 3 predict ---


def predict(ctx: StageContext) -> StageResult:
    """Ask the champion, and the challenger for its share of symbols; neutral when there is no model."""
    book = ctx.book
    symbols = tuple(book.symbols)
    ask = partial(inference.ask, book, ctx.switches, bar_ts=ctx.bar_ts, load=_features_of(ctx, symbols))
    answer: Answer[Outcome] = arms.ask(
        ctx.cycle,
        Stage.PREDICT,
        lambda run: inference.forecast(ask, run, bar_ts=ctx.bar_ts, symbols=symbols),
        trial=ask,
        excused=(ModelMissing,),  # without a model neither arm has anything to say
    )
    outcome = answer.merged(inference.merged)

    def write(cycle: PipelineCycle) -> dict[str, Any]:
        record.record(
            cycle,
            answer,
            lambda found: record.of_forecast(found.forecast),
            error=answer.value.reason if answer.value.fallback == inference.NEUTRAL else "",
        )
        store.save_forecast(cycle, outcome.forecast, outcome.served_by)
        return {}

    probability = outcome.forecast.probability
    return StageResult(
        summary={
            "models": sorted(outcome.served_by),
            "probability": {
                s: row.tolist() for s, row in zip(symbols, probability, strict=True) if np.isfinite(row).all()
            },
            **of_arms(answer),
        },
        fallback=outcome.fallback,
        reason=outcome.reason,
        write=write,
    )


def _features_of(ctx: StageContext, symbols: tuple[str, ...]) -> Callable[[int], FloatArray]:
    """Loads the last feature rows of the version that served this cycle.

    What one arm has loaded the other need not load again.
    """

    @lru_cache(maxsize=2)
    def load(n_rows: int) -> FloatArray:
        return store.load_features(features_of(ctx.cycle), symbols, ctx.bar_ts, n_rows=n_rows, n_features=len(NAMES))

    return load


# --- 4 risk ---


def risk(ctx: StageContext) -> StageResult:
    """Forecast volatility and decide how much of each symbol may be held."""
    bars, params = windows.close_window(ctx.cycle, ctx.params), ctx.params
    volatility = forecast_volatility(bars, ctx.bar_ts, params.volatility, garch=ctx.switches.garch_volatility)
    view = store.book_view(ctx.book, bars, ctx.bar_ts)
    inputs = {
        "forecast": store.load_forecast(ctx.cycle, bars.symbols),
        "volatility": volatility,
        "book": view,
        "returns": window_returns(bars.close, bars.n_bars - 1, params.portfolio.window_bars),
        "switches": ctx.switches,
        "params": params.risk,
    }
    answer: Answer[RiskDecision] = arms.ask(ctx.cycle, Stage.RISK, lambda run: run(**inputs))
    decision = answer.merged(lambda own, other, served: merge.risks(own, other, served, params.risk))
    record.record(ctx.cycle, answer, record.of_risk)
    decision = replace(decision, state=_written_state(ctx.book, decision, view))
    store.save_risk(ctx.cycle, volatility, decision)
    ewma = [s for s, m in zip(bars.symbols, volatility.methods, strict=True) if m == "ewma"]
    degraded = bool(ewma) and ctx.switches.garch_volatility
    return StageResult(
        summary={
            "sigma": dict(zip(bars.symbols, decision.sigma.tolist(), strict=True)),
            "leverage": decision.leverage,
            "state": decision.state.value,
            "denials": store.denials_json(decision.denials),
            **of_arms(answer),
        },
        fallback="ewma_volatility" if degraded else "",
        reason=f"GARCH could not be fitted for {', '.join(ewma)}" if degraded else "",
    )


def _written_state(book: Book, decision: RiskDecision, view: BookView) -> TradingState:
    """The decided state on the book, as far as the tier may set it; what a person set since binds this cycle too."""
    reason = f"drawdown of {view.drawdown:.2%}"
    return TradingState(books.set_state_by_risk(book.pk, decision.state, seen=view.state, reason=reason))


def forecast_volatility(bars: Bars, bar_ts: datetime, params: VolatilityParams, *, garch: bool) -> VolatilityForecast:
    """The forecast at the last bar; what was fitted is kept for the next bars of this process."""
    if len(FIT_CACHE) > MAX_CACHED_FITS:
        FIT_CACHE.clear()
    last = bars.n_bars - 1
    path = vol.volatility(bars.ts, bars.close, params=params, garch=garch, first_row=last, cache=FIT_CACHE)
    return VolatilityForecast(bar_ts=bar_ts, symbols=bars.symbols, sigma=path.sigma[last], methods=path.methods(last))


# --- 5 llm ---


def llm(ctx: StageContext) -> StageResult:
    """Show the market to the strategic analyst: the language model when there is a key, else the rules."""
    bars = windows.close_window(ctx.cycle, ctx.params)
    view = store.book_view(ctx.book, bars, ctx.bar_ts)
    path = market_context.statistics(bars.close)
    context = market_context.at(
        path,
        bars.n_bars - 1,
        bar_ts=ctx.bar_ts,
        symbols=bars.symbols,
        forecast=store.load_forecast(ctx.cycle, bars.symbols),
        book=view,
    )
    history = ctx.book.mode == Book.Mode.REPLAY
    answer: Answer[Reply] = arms.ask(
        ctx.cycle,
        Stage.LLM,
        lambda run: analyst.ask(context, ctx.switches, env=get_env(), rules=run, history=history),
        trial=lambda run: (run(context), "", ""),
    )
    reply, fallback, reason = answer.merged(analyst.merged)
    applied = ctx.switches.llm_strategic_analysis and ctx.switches.llm_enhanced_decisions

    def write(cycle: PipelineCycle) -> dict[str, Any]:
        record.record(
            cycle,
            answer,
            lambda found: record.of_book(cycle.book.symbols, {"risk_multiplier": found[0].risk_multiplier}),
        )
        store.save_view(cycle, context, reply, applied=applied)
        return {}

    return StageResult(
        summary={
            "provider": reply.provider,
            "stance": reply.stance.value,
            "risk_multiplier": reply.risk_multiplier,
            "applied": applied,
            **of_arms(answer),
        },
        fallback=fallback,
        reason=reason,
        write=write,
    )


# --- 6 portfolio ---


def portfolio(ctx: StageContext) -> StageResult:
    """Choose the target weights inside the risk engine's bounds."""
    bars, params = windows.close_window(ctx.cycle, ctx.params), ctx.params
    decision = enforce(store.load_risk(ctx.cycle), store.load_view(ctx.cycle), ctx.switches)
    view = store.book_view(ctx.book, bars, ctx.bar_ts)
    inputs = {
        "risk": decision,
        "returns": window_returns(bars.close, bars.n_bars - 1, params.portfolio.window_bars),
        "book": view,
        "params": params.portfolio,
    }
    desk = book_strategy.Desk(book=ctx.book, bars=bars, risk=decision, view=view, params=params.portfolio)
    answer: Answer[TargetWeights] = arms.ask(
        ctx.cycle, Stage.PORTFOLIO, lambda run: desk.serving(run(**inputs)), strategy=desk.challenging
    )
    targets = answer.merged(desk.merged)
    record.record(ctx.cycle, answer, record.of_targets)
    store.save_targets(ctx.cycle, targets)
    return StageResult(
        summary={
            "weights": dict(zip(targets.symbols, targets.weights.tolist(), strict=True)),
            "turnover": targets.turnover,
            "reason": targets.reason,
            **of_arms(answer),
        }
    )


# --- 7 execute ---


def execute(ctx: StageContext) -> StageResult:
    """Write orders and cancels to the outbox, and the book's snapshot; they are sent once this is committed."""
    book = ctx.book  # not locked: a halt need not wait for the tier, the sender obeys it
    bars = windows.close_window(ctx.cycle, ctx.params)
    decision, targets = store.load_risk(ctx.cycle), store.load_targets(ctx.cycle)
    view = replace(store.book_view(book, bars, ctx.bar_ts), state=decision.state)
    superseded = outbox.supersede(ctx.cycle)
    inputs: dict[str, Any] = {
        "targets": targets,
        "book": view,
        "lots": lots(book),
        "params": ctx.params.execute,
        "key": order_key(book),
    }
    answer: Answer[Plan] = arms.ask(ctx.cycle, Stage.EXECUTE, lambda run: run(**inputs))
    plan = answer.merged(partial(merge_orders.plans, **inputs))
    record.record(ctx.cycle, answer, lambda found: record.of_plan(found, view))
    withhold = "" if ctx.switches.auto_trading else "auto_trading is off"
    outbox.record_intents(ctx.cycle, plan.intents, withhold=withhold)
    store.save_snapshot(ctx.cycle, view)
    logger.bind(orders=len(plan.intents), withheld=withhold, equity=str(view.equity)).info("cycle.decided")
    return StageResult(
        summary={
            "equity": view.equity,
            "orders": [[i.client_order_id, i.side.value, i.symbol, i.quantity] for i in plan.intents],
            "withheld": withhold,
            "superseded": superseded,
            "denials": store.denials_json(plan.denials),
            **of_arms(answer),
        }
    )


def order_key(book: Book) -> str:
    """What makes the order ids of one book differ from those of any other."""
    return f"book:{book.pk}"


def lots(book: Book) -> dict[str, Lot]:
    """Trading steps of the book's symbols."""
    rows = Instrument.objects.filter(symbol__in=book.symbols)
    return {
        row.symbol: Lot(quantity_step=row.quantity_step, min_notional=row.min_notional, price_tick=row.price_tick)
        for row in rows
    }


HANDLERS: dict[Stage, Handler] = {
    Stage.INGEST: ingest,
    Stage.FEATURES: features,
    Stage.PREDICT: predict,
    Stage.RISK: risk,
    Stage.LLM: llm,
    Stage.PORTFOLIO: portfolio,
    Stage.EXECUTE: execute,
}
# May wait on a network (a source of bars, the state that breakers share, a language model): the handler runs before the
# stage's transaction, and `write`s in it.
WAITS = frozenset({Stage.INGEST, Stage.PREDICT, Stage.LLM})

__all__ = [
    "HANDLERS",
    "WAITS",
    "Handler",
    "Skip",
    "StageContext",
    "StageResult",
    "features_of",
    "lots",
    "order_key",
    "params_of",
    "utc",
]
