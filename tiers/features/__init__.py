"""Stage two: bars to features. `run` is the whole stage, for one bar and for a whole history alike."""

from tiers.features.compute import compute as run

VERSION = "1.0.0"

__all__ = ["VERSION", "run"]
