"""Tier 5 on live data: what the analyst says about the market."""

from __future__ import annotations

from typing import Any

from helios.env import get_env
from tiers.challenge import arms, record
from tiers.challenge.arms import Answer
from tiers.contracts import MarketContext, shortest
from tiers.contracts.protocols import LlmTier
from tiers.live import analyst, lookback, store
from tiers.live.analyst import Reply
from tiers.live.stage_context import StageContext, StageResult, of_arms
from trading.models import Book, PipelineCycle, Stage


def run(ctx: StageContext) -> StageResult:
    """Show the market to the strategic analyst: the language model when there is a key, else the rules."""
    window = lookback.close_window(ctx.cycle, ctx.params)
    bars = shortest(window)
    view = store.book_view(ctx.book, bars, ctx.bar_ts)
    forecast = store.load_forecast(ctx.cycle, bars.symbols)
    history = ctx.book.mode == Book.Mode.REPLAY

    def shown(tier: LlmTier) -> MarketContext:
        seen = lookback.seen_by(tier, lookback.adjusted(window), ctx.params, ctx.book.timeframe)
        return tier.context(
            tier.market_statistics(seen),
            shortest(seen).n_bars - 1,
            bar_ts=ctx.bar_ts,
            symbols=bars.symbols,
            forecast=forecast,
            book=view,
        )

    answer: Answer[Reply] = arms.ask(
        ctx.cycle,
        Stage.LLM,
        lambda tier: analyst.ask(tier, shown(tier), ctx.switches, env=get_env(), history=history),
        values=lambda found: record.of_book(ctx.book.symbols, {"risk_multiplier": found.view.risk_multiplier}),
        merge=analyst.merged,
        trial=lambda tier: analyst.by_rules(tier, shown(tier)),
    )
    reply = answer.merged
    applied = ctx.switches.llm_strategic_analysis and ctx.switches.llm_enhanced_decisions

    def write(cycle: PipelineCycle) -> dict[str, Any]:
        record.record(cycle, answer)
        return {}

    return StageResult(
        summary={
            "provider": reply.view.provider,
            "stance": reply.view.stance.value,
            "risk_multiplier": reply.view.risk_multiplier,
            "applied": applied,
            **of_arms(answer),
        },
        fallback=reply.fallback,
        reason=reply.reason,
        rows=store.view_rows(ctx.cycle, reply.context, reply.view, applied=applied),
        write=write if answer.trials else None,
        version=answer.version(ctx.cycle.modules[Stage.LLM]),
    )
