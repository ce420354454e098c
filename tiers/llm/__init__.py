"""Tier 5: the strategic view on the market, and what it may change."""

import numpy as np

from tiers.contracts import BarsByTimeframe, MarketContext, StrategicView, shortest
from tiers.contracts.ended import ended
from tiers.contracts.parameters import PipelineParams
from tiers.contracts.protocols import Connection
from tiers.llm.enforce import enforce
from tiers.llm.market_context import WINDOW_BARS, ContextPath, context, statistics
from tiers.llm.rule_based import analyse as run

VERSION = "1.0.0"


def lookback_bars(_params: PipelineParams, timeframe: str) -> dict[str, int]:
    """Own bars behind a context."""
    return {timeframe: WINDOW_BARS}


def market_statistics(bars: BarsByTimeframe) -> ContextPath:
    """Trend, volatility ratio and breadth of the shortest timeframe; see `llm.market_context.statistics`."""
    seen = shortest(bars)
    return statistics(seen.close, ended(seen))


def ask_model(context: MarketContext, connection: Connection) -> StrategicView:
    """The view of the language model; see `llm.claude.analyse`."""
    from tiers.llm import claude  # noqa: PLC0415 - three seconds of imports, for books that ask a language model

    client = claude.client(connection.api_key, connection.base_url)
    return claude.analyse(client, context, model=connection.model, timeout_s=connection.timeout_s)


def on_load() -> None:
    """Compile, or load, what numba compiles here: no bar waits for it."""
    statistics(np.full((2, 1), 100.0))


__all__ = [
    "VERSION",
    "ask_model",
    "context",
    "enforce",
    "lookback_bars",
    "market_statistics",
    "on_load",
    "run",
]
