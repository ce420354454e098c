"""Tier 2 on live data: the features of this bar, and of those before it that the model still lacks."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from tiers.challenge import arms, record
from tiers.challenge.arms import Answer
from tiers.contracts import Bars, FloatArray
from tiers.features.catalog import FEATURE_SET
from tiers.features.catalog import WINDOW_BARS as FEATURE_WINDOW
from tiers.live import inference, store
from tiers.live.stage_context import StageContext, StageResult, of_arms
from trading.market import read as market
from trading.market.timestamps import utc
from trading.market.write import lock_bars_shared
from trading.models import PipelineCycle, Stage


def run(ctx: StageContext) -> StageResult:
    """Compute the features of this bar, and of the bars before it that the model needs and that are missing."""
    book = ctx.book
    needed = inference.receptive_bars(book)
    lock_bars_shared(book.symbols)
    bars = market.bar_window(book.symbols, book.timeframe, ctx.bar_ts, FEATURE_WINDOW + needed)
    answer: Answer[FloatArray] = arms.ask(ctx.cycle, Stage.FEATURES, lambda tier: tier(bars))
    values = answer.whole()
    record.record(
        ctx.cycle,
        answer,
        lambda found: record.of_book(book.symbols, {"missing_values": int(np.isnan(found[-1]).sum())}),
    )
    rows = _feature_rows(bars, values, needed)
    version = answer.version(ctx.cycle.modules[Stage.FEATURES])
    made = store.FeatureVersion(timeframe=book.timeframe, feature_set=FEATURE_SET, version=version)
    written = store.save_features(made, rows)
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
    (version,) = (run.module_version for run in cycle.stage_runs.all() if run.stage == Stage.FEATURES)
    return store.FeatureVersion(timeframe=cycle.timeframe, feature_set=FEATURE_SET, version=version)


def _feature_rows(bars: Bars, values: FloatArray, needed: int) -> list[tuple[str, datetime, FloatArray]]:
    """The last `needed` own rows of each symbol."""
    rows = []
    for column, symbol in enumerate(bars.symbols):
        own = np.flatnonzero(~np.isnan(bars.close[:, column]))[-needed:]
        rows += [(symbol, utc(bars.ts[row]), values[row, column]) for row in own]
    return rows
