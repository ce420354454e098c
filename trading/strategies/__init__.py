"""Strategies that turn prices straight into weights; the seven-tier model strategy lives in `tiers`."""

from trading.strategies.base import Strategy, StrategyError
from trading.strategies.buy_and_hold import BuyAndHold
from trading.strategies.sma_cross import SmaCross

__all__ = ["BuyAndHold", "SmaCross", "Strategy", "StrategyError"]
