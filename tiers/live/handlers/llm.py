"""Tier 5 on live data: what the analyst says about the market."""

from __future__ import annotations

from typing import Any

from helios.env import get_env
from tiers.challenge import arms, record
from tiers.challenge.arms import Answer
from tiers.live import analyst, store, windows
from tiers.live.analyst import Reply
from tiers.live.stage_context import StageContext, StageResult, of_arms
from tiers.llm import market_context
from trading.models import Book, PipelineCycle, Stage


def run(ctx: StageContext) -> StageResult:
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
        lambda tier: analyst.ask(context, ctx.switches, env=get_env(), rules=tier, history=history),
        trial=lambda tier: (tier(context), "", ""),
    )
    reply, fallback, reason = answer.merged(analyst.merged)
    applied = ctx.switches.llm_strategic_analysis and ctx.switches.llm_enhanced_decisions

    def write(cycle: PipelineCycle) -> dict[str, Any]:
        record.record(
            cycle,
            answer,
            lambda found: record.of_book(cycle.book.symbols, {"risk_multiplier": found[0].risk_multiplier}),
        )
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
        rows=store.view_rows(ctx.cycle, context, reply, applied=applied),
        write=write if answer.trials else None,
    )
