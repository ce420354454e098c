"""Tier 4, "Aether": volatility, sizes, leverage and limits."""

import numpy as np

from tiers.contracts import BarsByTimeframe, VolatilityPath, shortest
from tiers.contracts.parameters import PipelineParams, VolatilityParams
from tiers.contracts.returns import rows_read
from tiers.risk.garch import FitCache
from tiers.risk.limits import mean_correlations
from tiers.risk.sizing import decide as run
from tiers.risk.volatility import volatility as volatility_path
from tiers.risk.volatility import window_bars

VERSION = "1.0.0"
FITS: FitCache = {}  # of this process, keyed by their input: they spare time and never change a value
MAX_FITS = 4_096


def lookback_bars(params: PipelineParams, timeframe: str) -> dict[str, int]:
    """Own bars behind a decision: the window of the fit, and the returns that limits look at."""
    behind = rows_read(params.portfolio.window_bars, timeframe, both=bool(params.portfolio.own_bars))
    return {timeframe: max(window_bars(params.volatility, timeframe), behind)}


def forecast_volatility(
    bars: BarsByTimeframe, *, params: VolatilityParams, garch: bool, first_row: int = 0
) -> VolatilityPath:
    """Next-bar volatility of the shortest timeframe's closes; see `risk.volatility.volatility`."""
    if len(FITS) > MAX_FITS:
        FITS.clear()
    own = shortest(bars)
    return volatility_path(own.ts, own.close, params=params, garch=garch, first_row=first_row, cache=FITS)


def on_load() -> None:
    """Compile, or load, what numba compiles here: no bar waits for it."""
    n_bars = 300
    close = 100.0 * np.exp(0.01 * np.cumsum(np.sin(np.arange(n_bars, dtype=np.float64) ** 2)))[:, None]
    days = np.arange(n_bars).astype("datetime64[D]").astype("datetime64[us]")
    volatility_path(days, close, params=VolatilityParams(window_bars=n_bars), garch=True, first_row=n_bars - 1)
    mean_correlations(np.eye(3), 2)


__all__ = ["VERSION", "forecast_volatility", "lookback_bars", "on_load", "run"]
