"""Tier 2 on live data: the features of this bar, and of those before it that the model still lacks."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tiers.challenge import arms, record
from tiers.challenge.arms import Answer
from tiers.contracts import Bars, FeatureSet, FloatArray, shortest
from tiers.contracts.protocols import FeaturesTier
from tiers.live import inference, lookback, store
from tiers.live.stage_context import StageContext, StageResult, of_arms
from trading.market.write import lock_bars_shared
from trading.models import PipelineCycle, Stage


class Computed(NamedTuple):
    """What one arm made: its set, the bars that are decided on, and (n_bars, n_symbols, n_columns) of them."""

    made: FeatureSet
    bars: Bars
    values: FloatArray


def run(ctx: StageContext) -> StageResult:
    """Compute the features of this bar, and of the bars before it that the model needs and that are missing."""
    book = ctx.book
    needed = inference.receptive_bars(book)
    lock_bars_shared(book.symbols)
    load = lru_cache(lambda wanted: lookback.adjusted(lookback.load(book.symbols, dict(wanted), ctx.bar_ts)))

    def compute(tier: FeaturesTier) -> Computed:
        made = tier.feature_set(book.timeframe)
        bars = load(tuple((name, n_bars + needed) for name, n_bars in made.lookback.items()))
        return Computed(made, shortest(bars), tier.run(bars))

    answer: Answer[Computed] = arms.ask(
        ctx.cycle,
        Stage.FEATURES,
        compute,
        values=lambda found: record.of_book(book.symbols, {"missing_values": int(np.isnan(found.values[-1]).sum())}),
    )
    made, bars, values = answer.merged
    record.record(ctx.cycle, answer)
    version = answer.version(ctx.cycle.modules[Stage.FEATURES])
    key = store.FeatureVersion(timeframe=book.timeframe, feature_set=made.name, version=version)
    written = store.save_features(key, bars, values, n_rows=needed)
    newest = values[-1]
    return StageResult(
        summary={
            "rows": written,
            "missing_values": int(np.isnan(newest).sum()),
            "feature_set": str(made),
            **of_arms(answer),
        },
        version=version,
    )


def features_of(cycle: PipelineCycle) -> tuple[FeatureSet, store.FeatureVersion]:
    """Which set a cycle is served by, and whose rows of it."""
    made = arms.serving(cycle, Stage.FEATURES).feature_set(cycle.timeframe)
    version = arms.serving_label(cycle, Stage.FEATURES)
    return made, store.FeatureVersion(timeframe=cycle.timeframe, feature_set=made.name, version=version)
