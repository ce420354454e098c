"""Tier 4 on live data: how much each symbol moves, and how much of it may be held."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tiers.challenge import arms, merge, record
from tiers.challenge.arms import Answer
from tiers.contracts import Bars, BookView, RiskDecision, TradingState, VolatilityForecast
from tiers.contracts.parameters import VolatilityParams
from tiers.contracts.returns import window_returns
from tiers.live import store, windows
from tiers.live.stage_context import StageContext, StageResult, of_arms
from tiers.risk import volatility as vol
from tiers.risk.garch import FitCache
from trading.books import write as books
from trading.models import Book, Stage

FIT_CACHE: FitCache = {}  # fits of this process, keyed by their input; it spares time and never changes a value
MAX_CACHED_FITS = 4_096


def run(ctx: StageContext) -> StageResult:
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
    answer: Answer[RiskDecision] = arms.ask(ctx.cycle, Stage.RISK, lambda tier: tier(**inputs))
    decision = answer.merged(lambda own, other, served: merge.risks(own, other, served, params.risk))
    record.record(ctx.cycle, answer, record.of_risk)
    decision = replace(decision, state=_written_state(ctx.book, decision, view))
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
        rows=store.risk_rows(ctx.cycle, volatility, decision),
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
