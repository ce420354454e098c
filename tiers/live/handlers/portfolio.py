"""Tier 6 on live data: the target weights inside the bounds of risk."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from helios.db.failures import savepoint
from helios.rollouts.core.assignment import Assignment, Kind
from tiers.challenge import arms, record, shadow_book
from tiers.challenge.arms import Answer
from tiers.contracts import Bars, BookView, TargetWeights, adjusted, shortest
from tiers.contracts.returns import window_returns
from tiers.live import book_params, book_strategy, lookback, store
from tiers.live.stage_context import StageContext, StageResult, of_arms
from trading.models import Book, PipelineCycle, Stage
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
    strategies = [each for each in arms.assignments(ctx.cycle, Stage.PORTFOLIO) if each.kind == Kind.STRATEGY]
    allocation = book_strategy.Allocation(
        book=ctx.book,
        bars=bars,
        risk=decision,
        view=view,
        returns=returns,
        params=limits,
        listed=_taking_part(ctx.book, bars) if strategies or ctx.book.strategy else (),
    )
    views = _shadow_views(view, bars, strategies)

    def challenging(assignment: Assignment) -> TargetWeights:
        """In shadow from what its own answers so far would hold, else from what the book holds."""
        if not assignment.shadow:
            return allocation.challenging(assignment)
        own = views.get(assignment.rollout_id) or shadow_book.view(view, bars, assignment)
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


def _taking_part(book: Book, bars: Bars) -> set[str]:
    """The symbols that a strategy divides the money between: the part of one that has not begun waits."""
    known = zip(bars.symbols, np.isfinite(bars.close).T, strict=True)
    return {*book_params.not_ended(book), *(symbol for symbol, has in known if not has.any())}


def _shadow_views(real: BookView, bars: Bars, strategies: Sequence[Assignment]) -> dict[int, BookView]:
    """Read before their clocks start; what goes wrong here goes wrong again, and is told, in the trial."""
    found = {}
    for each in strategies:
        with contextlib.suppress(Exception), savepoint():
            if each.shadow:
                found[each.rollout_id] = shadow_book.view(real, bars, each)
    return found


def _record(cycle: PipelineCycle, *, answer: Answer[TargetWeights]) -> dict[str, Any]:
    record.record(cycle, answer)
    return {}
