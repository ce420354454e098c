"""Tier 4 on live data: how much each symbol moves, and how much of it may be held."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from loguru import logger

from helios import events
from tiers.challenge import arms, merge, record
from tiers.challenge.arms import Answer
from tiers.contracts import (
    Bars,
    BarsByTimeframe,
    BookView,
    BoolArray,
    RiskDecision,
    TradingState,
    VolatilityForecast,
    VolatilityPath,
    shortest,
)
from tiers.contracts.parameters import PipelineParams, RiskParams, VolatilityParams
from tiers.contracts.protocols import RiskTier
from tiers.contracts.returns import window_returns
from tiers.ingest import jumps
from tiers.live import claims, lookback, store
from tiers.live.stage_context import StageContext, StageResult, of_arms
from trading.books import write as books
from trading.models import Book, PipelineCycle, Stage


class Risk(NamedTuple):
    """What one arm says: the volatilities, the decision made of them, and the method that was asked for."""

    volatility: VolatilityForecast
    decision: RiskDecision
    preferred: str


def run(ctx: StageContext) -> StageResult:
    """Forecast volatility and decide how much of each symbol may be held."""
    params, traded = ctx.params, lookback.close_window(ctx.cycle, ctx.params)
    view = store.book_view(ctx.book, shortest(traded), ctx.bar_ts)
    window = lookback.adjusted(traded)
    bars = shortest(window)
    inputs: dict[str, Any] = {
        "forecast": store.load_forecast(ctx.cycle, bars.symbols),
        "book": view,
        "returns": window_returns(bars, bars.n_bars - 1, params.portfolio.window_bars, params.portfolio.own_bars),
        "switches": ctx.switches,
        "params": params.risk,
    }

    def decide(tier: RiskTier) -> Risk:
        path = forecast_volatility(tier, window, params, garch=ctx.switches.garch_volatility)
        volatility = path.at(bars.n_bars - 1, bar_ts=ctx.bar_ts, symbols=bars.symbols)
        return Risk(volatility, tier.run(**inputs, volatility=volatility), path.preferred)

    answer: Answer[Risk] = arms.ask(
        ctx.cycle,
        Stage.RISK,
        decide,
        values=lambda found: record.of_risk(found.decision),
        merge=partial(_merged, params=params.risk),
    )
    volatility, decision, preferred = answer.merged
    record.record(ctx.cycle, answer)
    jumped = jumps.newest(bars)
    if jumped:
        _tell(ctx.cycle, jumped)
    claims.still_due(ctx.cycle)  # its row before the book, as for whoever ends it; what is written then is taken back
    decision = replace(decision, state=_written_state(ctx.book, decision, view))
    found = zip(bars.symbols, volatility.methods, _could_be_fitted(bars, params.volatility), strict=True)
    instead = {symbol: method for symbol, method, fitted in found if fitted and method and method != preferred}
    degraded = bool(instead and preferred)
    return StageResult(
        summary={
            "sigma": dict(zip(bars.symbols, decision.sigma.tolist(), strict=True)),
            "leverage": decision.leverage,
            "state": decision.state.value,
            "denials": store.denials_json(decision.denials),
            **({"jumps": jumped} if jumped else {}),
            **of_arms(answer),
        },
        rows=store.risk_rows(ctx.cycle, volatility, decision),
        fallback=f"{'_'.join(sorted(set(instead.values())))}_volatility" if degraded else "",
        reason=f"{preferred.upper()} could not be fitted for {', '.join(instead)}" if degraded else "",
    )


def _could_be_fitted(bars: Bars, params: VolatilityParams) -> BoolArray:
    """(n_symbols,) whether enough bars lay before the newest's bucket, at whose first bar parameters are fitted."""
    bucket = (bars.ts.astype("datetime64[s]").astype(np.int64) // params.bucket_s)[:, None]
    known = np.isfinite(bars.close)
    before = known & (bucket < np.where(known, bucket, -1).max(axis=0))
    enough: BoolArray = before.sum(axis=0) >= params.min_returns
    return enough


def _tell(cycle: PipelineCycle, jumped: list[str]) -> None:
    """A move like a split's of which no action is stored: what is held lost by it, or won."""
    events.record(
        kind="market.jumped",
        severity="warning",
        source="tiers.risk",
        subject=str(cycle),
        data={"book": cycle.book.name, "jumps": jumped},
    )
    logger.bind(book=cycle.book.name, jumps=jumped).warning("market.jumped")


def _merged(own: Risk, other: Risk, served: frozenset[str], *, params: RiskParams) -> Risk:
    return Risk(
        merge.volatilities(own.volatility, other.volatility, served),
        merge.risks(own.decision, other.decision, served, params),
        own.preferred,
    )


def _written_state(book: Book, decision: RiskDecision, view: BookView) -> TradingState:
    """The decided state on the book, as far as the tier may set it; what a person set since binds this cycle too."""
    reason = f"drawdown of {view.drawdown:.2%}"
    return TradingState(books.set_state_by_risk(book.pk, decision.state, seen=view.state, reason=reason))


def forecast_volatility(
    tier: RiskTier, window: BarsByTimeframe, params: PipelineParams, *, garch: bool
) -> VolatilityPath:
    """The module's forecast at the last bar of the window."""
    last = shortest(window).n_bars - 1
    return tier.forecast_volatility(window, params=params.volatility, garch=garch, first_row=last)
