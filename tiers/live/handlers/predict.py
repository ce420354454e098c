"""Tier 3 on live data: the forecast of the models in service, neutral where there is none."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np

from tiers.challenge import arms, record
from tiers.challenge.arms import Answer
from tiers.contracts import FloatArray
from tiers.contracts.errors import ModelMissing
from tiers.live import inference, store
from tiers.live.handlers.features import features_of
from tiers.live.inference import Outcome
from tiers.live.stage_context import StageContext, StageResult, of_arms
from trading.models import PipelineCycle, Stage


def run(ctx: StageContext) -> StageResult:
    """Ask the champion, and the challenger for its share of symbols; neutral when there is no model."""
    book = ctx.book
    symbols = tuple(book.symbols)
    made, key = features_of(ctx.cycle)

    @lru_cache(maxsize=2)  # what one arm has loaded the other need not load again
    def rows(n_rows: int) -> FloatArray:
        return store.load_features(key, symbols, ctx.bar_ts, n_rows=n_rows, n_features=len(made.columns))

    ask = partial(inference.ask, book, ctx.switches, bar_ts=ctx.bar_ts, made=made, rows=rows)
    answer: Answer[Outcome] = arms.ask(
        ctx.cycle,
        Stage.PREDICT,
        lambda tier: inference.forecast(ask, tier, bar_ts=ctx.bar_ts, symbols=symbols),
        values=lambda found: record.of_forecast(found.forecast),
        merge=inference.merged,
        trial=ask,
        excused=(ModelMissing,),  # without a model neither arm has anything to say
    )
    outcome = answer.merged

    def write(cycle: PipelineCycle) -> dict[str, Any]:
        record.record(
            cycle,
            answer,
            error=answer.value.reason if answer.value.fallback == inference.NEUTRAL else "",
        )
        return {}

    probability = outcome.forecast.probability
    return StageResult(
        summary={
            "models": sorted(outcome.served_by),
            "probability": {
                s: row.tolist() for s, row in zip(symbols, probability, strict=True) if np.isfinite(row).all()
            },
            **({"silent": outcome.silent} if outcome.silent else {}),
            **of_arms(answer),
        },
        fallback=outcome.fallback,
        reason=outcome.reason,
        rows=store.forecast_rows(ctx.cycle, outcome.forecast, outcome.served_by),
        write=write if answer.trials else None,
    )
