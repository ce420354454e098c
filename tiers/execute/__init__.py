"""Tier 7: from target weights to orders."""

from tiers.execute.plan import plan as run

VERSION = "1.0.0"

__all__ = ["VERSION", "run"]
