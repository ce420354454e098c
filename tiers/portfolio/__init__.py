"""Tier 6: from the risk decision to target weights."""

import numpy as np

from tiers.contracts.parameters import PipelineParams
from tiers.contracts.returns import rows_read
from tiers.portfolio.covariance import shrunk_correlation
from tiers.portfolio.optimise import solve
from tiers.portfolio.rebalance import rebalance as run

VERSION = "1.0.0"


def lookback_bars(params: PipelineParams, timeframe: str) -> dict[str, int]:
    """Own bars behind the returns that the correlation is taken of."""
    return {timeframe: rows_read(params.portfolio.window_bars, timeframe, both=bool(params.portfolio.own_bars))}


def on_load() -> None:
    """Compile, or load, what numba compiles here: the first bar after a switch does not wait for it."""
    returns, zeros, ones = np.eye(3, 2), np.zeros(2), np.ones(2)
    correlation, _ = shrunk_correlation(returns, 2)
    solve(
        mu=zeros,
        sigma=ones,
        correlation=correlation,
        previous=zeros,
        low=zeros,
        high=ones,
        budget=1.0,
        risk_aversion=4.0,
        cost=zeros,
    )


__all__ = ["VERSION", "lookback_bars", "on_load", "run"]
