"""The seven stages on live data: load a window, call the same pure function as the backtest, save the last row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
from loguru import logger

from helios.env import get_env
from helios.modules import registry as modules
from tiers import analyst, inference, sources, store
from tiers.config import PipelineParams
from tiers.contracts import Bars, FloatArray, Switches, VolatilityForecast
from tiers.errors import Rejected
from tiers.execute.orders import Lot
from tiers.features.catalog import FEATURE_SET, NAMES
from tiers.features.catalog import WINDOW_BARS as FEATURE_WINDOW
from tiers.ingest.cycle import IngestResult, window_start
from tiers.lateness import late_now
from tiers.llm import context as market_context
from tiers.llm.apply import enforce
from tiers.portfolio.returns import window_returns
from tiers.risk import volatility as vol
from tiers.risk.garch import FitCache
from trading.accounting import exact
from trading.models import Book, Instrument, PipelineCycle, Stage
from trading.selectors import market
from trading.services import market as market_service
from trading.services import orders
from trading.services.books import account_of
from trading.services.settlement import settle

FIT_CACHE: FitCache = {}  # fits of this process, keyed by their input; it spares time and never changes a value
MAX_CACHED_FITS = 4_096


class Skip(Exception):  # noqa: N818 - not an error: there is nothing to decide
    """The cycle ends without a decision; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """What a stage may know: its cycle, its book and the flags of the cycle."""

    cycle: PipelineCycle
    book: Book
    switches: Switches

    @property
    def params(self) -> PipelineParams:
        return params_of(self.book)

    @property
    def bar_ts(self) -> datetime:
        return self.cycle.bar_ts


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What goes on the ledger, the fallback that was used if one was, and why the cycle ends here if it does."""

    summary: dict[str, Any]
    skip: str = ""
    fallback: str = ""
    reason: str = ""


Handler = Callable[[StageContext], StageResult]


def params_of(book: Book) -> PipelineParams:
    """The book's own parameters, or the defaults of its timeframe."""
    return PipelineParams.from_json(book.params) if book.params else PipelineParams.for_timeframe(book.timeframe)


def tier(ctx: StageContext, stage: Stage) -> Any:
    """The active module of a stage. `Rejected` when it is not the version that the cycle started with."""
    active, pinned = modules.resolve(stage.value), ctx.cycle.modules.get(stage.value)
    if active.version != pinned:
        raise Rejected(f"module {stage.value} is {active.version} now, the cycle started with {pinned}")
    return active.implementation


def close_window(ctx: StageContext) -> Bars:
    """The bars behind risk, context and portfolio: one load serves the longest of their windows.

    Kept for the cycle that asked last, since the three stages of one cycle often share a process.
    """
    key = (ctx.cycle.pk, ctx.bar_ts)
    if _window and _window[0][0] == key:
        return _window[0][1]
    params = ctx.params
    n_bars = max(
        vol.window_bars(params.volatility, ctx.book.timeframe),
        market_context.WINDOW_BARS,
        params.portfolio.window_bars + 1,
    )
    bars = market.bar_window(ctx.book.symbols, ctx.book.timeframe, ctx.bar_ts, n_bars)
    _window[:] = [(key, bars)]
    return bars


_window: list[tuple[tuple[int, datetime], Bars]] = []


# --- 1 ingest ---


def ingest(ctx: StageContext) -> StageResult:
    """Read and check the bar, store it with the higher bars it closes, fill the orders that waited for it."""
    book, bar_ts = ctx.book, ctx.bar_ts
    start = window_start(book.timeframe, bar_ts)
    result: IngestResult = tier(ctx, Stage.INGEST).run(
        sources.rows(book, start, bar_ts),
        timeframe=book.timeframe,
        bar_ts=bar_ts,
        calendars=sources.calendars(book.symbols),
    )
    if len(result.missing) == len(book.symbols):
        raise Skip(f"NO_BAR: no symbol has a bar at {bar_ts:%Y-%m-%d %H:%M} UTC")
    written = market_service.upsert_bars([result.accepted, *result.higher], source=book.source)
    locked = Book.objects.select_for_update().get(pk=book.pk)
    fills = settle(locked, bar_ts)
    mark(locked, _closes(result.accepted))
    late = late_now(book, bar_ts)
    return StageResult(
        skip=f"LATE_BAR: the bar of {bar_ts:%Y-%m-%d %H:%M} UTC is too old to be traded" if late else "",
        summary={
            "bars": result.accepted.n_symbols - len(result.missing),
            "missing": list(result.missing),
            "problems": [str(problem) for problem in result.problems],
            "inserted": written.inserted,
            "fills": [[f.client_order_id, f.side, f.quantity, f.price, f.fee] for f in fills],
        },
    )


def _closes(bars: Bars) -> dict[str, Decimal]:
    last = bars.close[-1]
    return {s: exact(float(v)) for s, v in zip(bars.symbols, last, strict=True) if not np.isnan(v)}


def mark(book: Book, closes: dict[str, Decimal]) -> None:
    """Value the book at this bar's closes, so that its peak is known even when the cycle goes no further."""
    prices: dict[str, Decimal] = {}
    for position in book.positions.all():
        price = closes.get(position.symbol, position.last_price)
        if price is not None:
            prices[position.symbol] = price
            if price != position.last_price:
                book.positions.filter(pk=position.pk).update(last_price=price)
    book.peak_equity = max(book.peak_equity, account_of(book).equity(prices))
    book.save(update_fields=["peak_equity", "updated_at"])


# --- 2 features ---


def features(ctx: StageContext) -> StageResult:
    """Compute the features of this bar, and of the bars before it that the model needs and that are missing."""
    book = ctx.book
    needed = inference.receptive_bars(book)
    bars = market.bar_window(book.symbols, book.timeframe, ctx.bar_ts, FEATURE_WINDOW + needed)
    values: FloatArray = tier(ctx, Stage.FEATURES).run(bars)
    rows = _feature_rows(bars, values, needed)
    times = [ts for _, ts, _ in rows]
    stored = store.stored_feature_times(book.timeframe, FEATURE_SET, book.symbols, min(times), max(times))
    new = [row for row in rows if (row[0], row[1]) not in stored]
    written = store.save_features(book.timeframe, FEATURE_SET, new)
    newest = values[-1]
    return StageResult(
        summary={"rows": written, "missing_values": int(np.isnan(newest).sum()), "feature_set": FEATURE_SET}
    )


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
    outcome = inference.forecast(
        book,
        ctx.switches,
        bar_ts=ctx.bar_ts,
        run=tier(ctx, Stage.PREDICT).run,
        load=lambda n: store.load_features(
            book.timeframe, FEATURE_SET, symbols, ctx.bar_ts, n_rows=n, n_features=len(NAMES)
        ),
    )
    store.save_forecast(ctx.cycle, outcome.forecast, outcome.served_by)
    probability = outcome.forecast.probability
    return StageResult(
        summary={
            "models": sorted(outcome.served_by),
            "probability": {
                s: row.tolist() for s, row in zip(symbols, probability, strict=True) if np.isfinite(row).all()
            },
        },
        fallback=outcome.fallback,
        reason=outcome.reason,
    )


# --- 4 risk ---


def risk(ctx: StageContext) -> StageResult:
    """Forecast volatility and decide how much of each symbol may be held."""
    bars, params = close_window(ctx), ctx.params
    volatility = _volatility(ctx, bars)
    view = store.book_view(ctx.book, bars, ctx.bar_ts)
    decision = tier(ctx, Stage.RISK).run(
        forecast=store.load_forecast(ctx.cycle, bars.symbols),
        volatility=volatility,
        book=view,
        returns=window_returns(bars.close, bars.n_bars - 1, params.portfolio.window_bars),
        switches=ctx.switches,
        params=params.risk,
    )
    store.save_risk(ctx.cycle, volatility, decision)
    Book.objects.filter(pk=ctx.book.pk).exclude(state=decision.state).update(state=decision.state)
    ewma = [s for s, m in zip(bars.symbols, volatility.methods, strict=True) if m == "ewma"]
    degraded = bool(ewma) and ctx.switches.garch_volatility
    return StageResult(
        summary={
            "sigma": dict(zip(bars.symbols, decision.sigma.tolist(), strict=True)),
            "leverage": decision.leverage,
            "state": decision.state.value,
            "denials": store.denials_json(decision.denials),
        },
        fallback="ewma_volatility" if degraded else "",
        reason=f"GARCH could not be fitted for {', '.join(ewma)}" if degraded else "",
    )


def _volatility(ctx: StageContext, bars: Bars) -> VolatilityForecast:
    if len(FIT_CACHE) > MAX_CACHED_FITS:
        FIT_CACHE.clear()
    last = bars.n_bars - 1
    path = vol.volatility(
        bars.ts,
        bars.close,
        params=ctx.params.volatility,
        garch=ctx.switches.garch_volatility,
        first_row=last,
        cache=FIT_CACHE,
    )
    return VolatilityForecast(
        bar_ts=ctx.bar_ts, symbols=bars.symbols, sigma=path.sigma[last], methods=path.methods(last)
    )


# --- 5 llm ---


def llm(ctx: StageContext) -> StageResult:
    """Show the market to the strategic analyst: the language model when there is a key, else the rules."""
    bars = close_window(ctx)
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
    reply, fallback, reason = analyst.ask(
        context,
        ctx.switches,
        env=get_env(),
        rules=tier(ctx, Stage.LLM).run,
        history=ctx.book.mode == Book.Mode.REPLAY,
    )
    applied = ctx.switches.llm_strategic_analysis and ctx.switches.llm_enhanced_decisions
    store.save_view(ctx.cycle, context, reply, applied=applied)
    return StageResult(
        summary={
            "provider": reply.provider,
            "stance": reply.stance.value,
            "risk_multiplier": reply.risk_multiplier,
            "applied": applied,
        },
        fallback=fallback,
        reason=reason,
    )


# --- 6 portfolio ---


def portfolio(ctx: StageContext) -> StageResult:
    """Choose the target weights inside the risk engine's bounds."""
    bars, params = close_window(ctx), ctx.params
    decision = enforce(store.load_risk(ctx.cycle), store.load_view(ctx.cycle), ctx.switches)
    targets = tier(ctx, Stage.PORTFOLIO).run(
        risk=decision,
        returns=window_returns(bars.close, bars.n_bars - 1, params.portfolio.window_bars),
        book=store.book_view(ctx.book, bars, ctx.bar_ts),
        params=params.portfolio,
    )
    store.save_targets(ctx.cycle, targets)
    return StageResult(
        summary={
            "weights": dict(zip(targets.symbols, targets.weights.tolist(), strict=True)),
            "turnover": targets.turnover,
            "reason": targets.reason,
        }
    )


# --- 7 execute ---


def execute(ctx: StageContext) -> StageResult:
    """Write orders to the outbox and the book's snapshot; the orders are sent once this is committed."""
    book = Book.objects.select_for_update().get(pk=ctx.book.pk)
    bars = close_window(ctx)
    decision, targets = store.load_risk(ctx.cycle), store.load_targets(ctx.cycle)
    view = replace(store.book_view(book, bars, ctx.bar_ts), state=decision.state)
    withdrawn = orders.cancel_superseded(ctx.cycle)
    plan = tier(ctx, Stage.EXECUTE).run(
        targets=targets, book=view, lots=lots(book), params=ctx.params.execute, key=order_key(book)
    )
    withhold = "" if ctx.switches.auto_trading else "auto_trading is off"
    orders.record_intents(ctx.cycle, plan.intents, withhold=withhold)
    store.save_snapshot(ctx.cycle, view)
    logger.bind(orders=len(plan.intents), withheld=withhold, equity=str(view.equity)).info("cycle.decided")
    return StageResult(
        summary={
            "equity": view.equity,
            "orders": [[i.client_order_id, i.side.value, i.symbol, i.quantity] for i in plan.intents],
            "withheld": withhold,
            "superseded": withdrawn,
            "denials": store.denials_json(plan.denials),
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
