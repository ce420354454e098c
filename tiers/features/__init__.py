"""Tier 2: bars to features. `run` is the whole stage, for one bar and for a whole history alike."""

from tiers.contracts import BarsByTimeframe, FeatureSet, FloatArray, shortest
from tiers.features.catalog import FEATURE_SET, LOOKBACK, NAMES, SET_VERSION, WINDOW_BARS
from tiers.features.compute import compute as features_of

VERSION = "1.0.0"


def feature_set(timeframe: str) -> FeatureSet:
    """The features of `catalog.NAMES`, made of the bars that are decided on and of no others."""
    return FeatureSet(
        name=FEATURE_SET,
        version=SET_VERSION,
        columns=NAMES,
        window_bars=WINDOW_BARS,
        timeframes=(timeframe,),
        warmup_bars=max(LOOKBACK.values()),
    )


def run(bars: BarsByTimeframe) -> FloatArray:
    """The features of the shortest timeframe's bars, (n_bars, n_symbols, n_columns); see `features.compute.compute`."""
    return features_of(shortest(bars))


__all__ = ["VERSION", "feature_set", "run"]
