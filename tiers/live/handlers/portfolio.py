"""Tier 6 on live data: the target weights inside the bounds of risk."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from helios.rollouts.core.assignment import Assignment
from tiers.challenge import arms, record, shadow_book
from tiers.challenge.arms import Answer
from tiers.contracts import TargetWeights, adjusted, shortest
from tiers.contracts.returns import window_returns
from tiers.live import book_strategy, lookback, store
from tiers.live.stage_context import StageContext, StageResult, of_arms
from trading.models import PipelineCycle, Stage
from trading.strategies.registry import TIERS


def run(ctx: StageContext) -> StageResult:
    """Choose the target weights inside the risk engine's bounds."""
    traded, params = shortest(lookback.close_window(ctx.cycle, ctx.params)), ctx.params
    bars = adjusted(traded)
    llm = arms.serving(ctx.cycle, Stage.LLM)
    decision = llm.enforce(store.load_risk(ctx.cycle), store.load_view(ctx.cycle), ctx.switches)
    view = store.book_view(ctx.book, traded, ctx.bar_ts)
    limits = params.portfolio.held_for(store.load_forecast(ctx.cycle, bars.symbols).horizon_bars)
    returns = window_returns(bars, bars.n_bars - 1, params.portfolio.window_bars, params.portfolio.own_bars)
    inputs = {
        "risk": decision,
        "returns": returns,
        "book": view,
        "params": limits,
    }
    allocation = book_strategy.Allocation(
        book=ctx.book, bars=bars, risk=decision, view=view, returns=returns, params=limits
    )

    def challenging(assignment: Assignment) -> TargetWeights:
        """In shadow from what its own answers so far would hold, else from what the book holds."""
        if not assignment.shadow:
            return allocation.challenging(assignment)
        own = shadow_book.view(view, bars, assignment)
        again = assignment.challenger == TIERS
        tiers = arms.champion(ctx.cycle, Stage.PORTFOLIO).run(**{**inputs, "book": own}) if again else allocation.own
        return replace(allocation, view=own, own=tiers).challenging(assignment)

    answer: Answer[TargetWeights] = arms.ask(
        ctx.cycle,
        Stage.PORTFOLIO,
        lambda tier: allocation.serving(tier.run(**inputs)),
        values=record.of_targets,
        merge=allocation.merged,
        strategy=challenging,
    )
    targets = answer.merged
    return StageResult(
        summary={
            "weights": dict(zip(targets.symbols, targets.weights.tolist(), strict=True)),
            "turnover": targets.turnover,
            "reason": targets.reason,
            **of_arms(answer),
        },
        rows=[store.targets_row(ctx.cycle, targets)],
        write=partial(_record, answer=answer) if answer.trials else None,
    )


def _record(cycle: PipelineCycle, *, answer: Answer[TargetWeights]) -> dict[str, Any]:
    record.record(cycle, answer)
    return {}
