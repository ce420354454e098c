"""From probabilities to expected returns, and from those to a fraction of equity.

The edge p(buy) - p(sell) is turned into a return by the mean absolute move of the horizon: a normal return of
standard deviation sigma sqrt(h) moves by sqrt(2/pi) sigma sqrt(h) on average, upwards with p(buy) and
downwards with p(sell). The Kelly fraction of a return with mean mu and variance sigma^2 is mu / sigma^2
(Thorp, "The Kelly criterion in blackjack, sports betting, and the stock market", 2006, section 7).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiers.contracts import BUY, SELL, FloatArray


def expected_return(
    probability: FloatArray, sigma: FloatArray, *, horizon_bars: Sequence[int], edge_scale: float
) -> FloatArray:
    """Expected return per bar, (n_symbols,).

    `probability` is (n_symbols, 3), `sigma` per bar, `horizon_bars` what each forecast looks ahead; `edge_scale`
    is the mean absolute move in standard deviations, sqrt(2/pi) for a normal return. NaN where a probability or the
    volatility is unknown.
    """
    edge = probability[:, BUY] - probability[:, SELL]
    out: FloatArray = edge * edge_scale * sigma / np.sqrt(horizon_bars)
    return out


def kelly_size(expected: FloatArray, sigma: FloatArray, *, fraction: float, cap: float) -> FloatArray:
    """Fractional Kelly part of equity, from 0 to `cap`, (n_symbols,).

    Mean and variance both grow with the horizon, so the per-bar figures give the fraction of the horizon too.
    NaN where an input is NaN; no short positions, so a negative expectation gives 0.
    """
    out: FloatArray = np.minimum(np.maximum(fraction * expected / (sigma * sigma), 0.0), cap)
    return out


def fixed_size(expected: FloatArray, *, fraction: float) -> FloatArray:
    """`fraction` of equity where the expectation is positive, 0 where not, NaN where NaN; (n_symbols,)."""
    out: FloatArray = np.where(expected > 0.0, fraction, np.where(np.isnan(expected), np.nan, 0.0))
    return out
