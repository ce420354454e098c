"""Tier 6: from the risk decision to target weights."""

from tiers.portfolio.rebalance import rebalance as run

VERSION = "1.0.0"

__all__ = ["VERSION", "run"]
