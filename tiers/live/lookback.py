"""The windows of bars that the live stages load: long enough that a live value equals that of the batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np
from loguru import logger

from helios.errors import HeliosError, error_text
from helios.liveness import told_to_end
from helios.modules import process as modules
from helios.modules import watch
from helios.rollouts.core.assignment import Kind
from tiers import contracts
from tiers.challenge import arms
from tiers.contracts import Bars
from tiers.contracts.feature_sets import joined_lookbacks
from tiers.contracts.parameters import PipelineParams
from tiers.live import book_strategy
from trading.market import kept_windows as market
from trading.models import PipelineCycle, Stage

LOOKBACK_STAGES = (Stage.RISK, Stage.LLM, Stage.PORTFOLIO)  # the tiers that decide on bars themselves
_last: list[tuple[tuple[Any, ...], dict[str, Bars]]] = []


def bars_needed(tiers: Iterable[Any], params: PipelineParams, timeframe: str) -> dict[str, int]:
    """Own bars by timeframe behind risk, context and portfolio: the longest of what the modules ask for."""
    return joined_lookbacks({timeframe: 1}, *(tier.lookback_bars(params, timeframe) for tier in tiers))


def tiers_in_use() -> list[Any]:
    """The modules that look back, of those in use."""
    return [watch.guarded(modules.resolve(stage.value)) for stage in LOOKBACK_STAGES]


def close_bars(params: PipelineParams, timeframe: str) -> int:
    """Own bars of the timeframe that is decided on, by the modules in use."""
    return bars_needed(tiers_in_use(), params, timeframe)[timeframe]


def close_window(cycle: PipelineCycle, params: PipelineParams) -> dict[str, Bars]:
    """The bars by timeframe behind risk, context and portfolio of a cycle.

    Kept for the cycle that asked last, since the three stages of one cycle often share a process.
    """
    key = (cycle.pk, cycle.bar_ts, *(cycle.modules.get(stage.value) for stage in LOOKBACK_STAGES))
    if _last and _last[0][0] == key:
        return _last[0][1]
    book = cycle.book
    wanted = bars_needed([arms.champion(cycle, stage) for stage in LOOKBACK_STAGES], params, book.timeframe)
    for stage, tier in ((name, each) for name in LOOKBACK_STAGES for each in arms.challengers(cycle, name)):
        try:
            wanted = joined_lookbacks(wanted, tier.lookback_bars(params, book.timeframe))
        except BaseException as error:  # its trial goes on with the champion's window
            if told_to_end(error):
                raise
            logger.bind(stage=stage.value, cycle=cycle.pk, error=error_text(error)).warning(
                "challenger.lookback_failed"
            )
    strategies = [book_strategy.serving(book)]
    for one in arms.assignments(cycle, Stage.PORTFOLIO):
        if one.kind == Kind.STRATEGY:
            with suppress(HeliosError):  # one that is known no more is told by its trial
                book_strategy.bars_needed([(one.challenger, one.params)])
                strategies.append((one.challenger, dict(one.params)))
    wanted = joined_lookbacks(wanted, {book.timeframe: book_strategy.bars_needed(strategies)})
    bars = load(book.symbols, wanted, cycle.bar_ts)
    _last[:] = [(key, bars)]
    return bars


def adjusted(window: Mapping[str, Bars]) -> dict[str, Bars]:
    """The window as the tiers see it; money goes by the bars themselves."""
    return {timeframe: contracts.adjusted(bars) for timeframe, bars in window.items()}


def seen_by(tier: Any, window: Mapping[str, Bars], params: PipelineParams, timeframe: str) -> dict[str, Bars]:
    """The window without the bars that a tier does not look back on."""
    wanted = tier.lookback_bars(params, timeframe)
    return {name: _last_own(bars, wanted[name]) if name in wanted else bars for name, bars in window.items()}


def _last_own(bars: Bars, n_bars: int) -> Bars:
    known = ~np.isnan(bars.close)
    wanted = known & (np.cumsum(known[::-1], axis=0)[::-1] <= n_bars)
    return bars.rows(slice(int(wanted.any(axis=1).argmax()), None))


def load(symbols: Sequence[str], wanted: Mapping[str, int], bar_ts: datetime) -> dict[str, Bars]:
    """The last bars of each timeframe that had closed at `bar_ts`."""
    return {
        timeframe: market.bar_window(symbols, timeframe, bar_ts, n_bars, at_least_one=place == 0)
        for place, (timeframe, n_bars) in enumerate(wanted.items())
    }
