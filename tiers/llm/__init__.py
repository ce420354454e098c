"""Tier 5: the strategic view on the market, and what it may change."""

from tiers.llm.rule_based import analyse as run

VERSION = "1.0.0"

__all__ = ["VERSION", "run"]
