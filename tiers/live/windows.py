"""The windows of bars that the live stages load: long enough that a live value equals that of the batch."""

from __future__ import annotations

from datetime import datetime

from tiers.contracts import Bars
from tiers.contracts.parameters import PipelineParams
from tiers.llm import market_context
from tiers.risk import volatility as vol
from trading.market import read as market
from trading.models import PipelineCycle

_last: list[tuple[tuple[int, datetime], Bars]] = []


def close_bars(params: PipelineParams, timeframe: str) -> int:
    """Own bars of each symbol behind risk, context and portfolio: the longest of their needs."""
    return max(
        vol.window_bars(params.volatility, timeframe),
        market_context.WINDOW_BARS,
        params.portfolio.window_bars + 1,
    )


def close_window(cycle: PipelineCycle, params: PipelineParams) -> Bars:
    """The bars behind risk, context and portfolio of a cycle.

    Kept for the cycle that asked last, since the three stages of one cycle often share a process.
    """
    key = (cycle.pk, cycle.bar_ts)
    if _last and _last[0][0] == key:
        return _last[0][1]
    book = cycle.book
    bars = market.bar_window(book.symbols, book.timeframe, cycle.bar_ts, close_bars(params, book.timeframe))
    _last[:] = [(key, bars)]
    return bars
