"""Tier 4, "Aether": volatility, sizes, leverage and limits."""

from tiers.risk.decide import decide as run

VERSION = "1.0.0"

__all__ = ["VERSION", "run"]
