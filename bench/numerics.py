"""Features against bare TA-Lib calls, GARCH fits against arch."""

from __future__ import annotations

from typing import Any

import numpy as np
import talib

from bench.chain import SEED, synthetic_bars
from bench.timing import best_of

GARCH_WINDOW, GARCH_STEPS = 1_000, 100


def measure() -> list[dict[str, Any]]:
    """One row a kind of work."""
    return [_features(), _garch()]


def _features() -> dict[str, Any]:
    from tiers.features import catalog  # noqa: PLC0415
    from tiers.features.compute import compute  # noqa: PLC0415

    bars = synthetic_bars(4, 20_000)
    n_values = bars.n_bars * bars.n_symbols * len(catalog.NAMES)
    ours = best_of(lambda: compute(bars))
    columns = [
        tuple(np.ascontiguousarray(getattr(bars, name)[:, i]) for name in ("high", "low", "close", "volume"))
        for i in range(bars.n_symbols)
    ]

    def bare() -> None:
        for high, low, close, volume in columns:
            talib.RSI(close, 14), talib.ADX(high, low, close, 14), talib.ATR(high, low, close, 14)
            talib.CCI(high, low, close, 20), talib.MFI(high, low, close, volume, 14), talib.ROC(close, 10)
            (
                talib.EMA(close, 20),
                talib.SMA(close, 50),
                talib.WILLR(high, low, close, 14),
                talib.MOM(close, 10),
            )

    theirs = best_of(bare) / (bars.n_bars * bars.n_symbols * 10)
    return {
        "work": f"{len(catalog.NAMES)} features, batch",
        "ours": ours / n_values * 1e9,
        "unit": "ns/value",
        "peer": "ten bare TA-Lib indicators",
        "theirs": theirs * 1e9,
        "target": "<= 1.5x",
        "detail": {},
    }


def _garch() -> dict[str, Any]:
    """A window that rolls over a GARCH process: parameters and next-bar variance at each step."""
    from arch.univariate import GARCH, ConstantMean  # noqa: PLC0415

    from tiers.risk import garch  # noqa: PLC0415

    rng = np.random.default_rng(SEED)
    returns, variance = np.empty(GARCH_WINDOW + GARCH_STEPS), 1.0
    for k in range(len(returns)):
        returns[k] = np.sqrt(variance) * rng.standard_normal()
        variance = 0.05 + 0.09 * returns[k] ** 2 + 0.86 * variance
    windows = [returns[k : k + GARCH_WINDOW].copy() for k in range(GARCH_STEPS)]

    def ours() -> list[float]:
        found = []
        for window in windows:
            fit = garch.fit(window)
            if fit is None:
                raise RuntimeError("every window of this process must have a fit, one had none")
            start = garch.start_variance(window, mean=True)
            garch.filter_variance(window, fit.parameters, start)[-1]
            found.append(fit.loglikelihood)
        return found

    def theirs() -> list[float]:
        found = []
        for window in windows:
            model = ConstantMean(window, volatility=GARCH(), rescale=False)
            result = model.fit(disp="off", show_warning=False, backcast=float(np.var(window)))
            result.forecast(horizon=1, reindex=False)
            found.append(float(result.loglikelihood))
        return found

    lack = max((peer - own) / abs(peer) for own, peer in zip(ours(), theirs(), strict=True))
    return {
        "work": f"rolling GARCH(1,1) refit and forecast, window {GARCH_WINDOW:,}",
        "ours": best_of(ours) / GARCH_STEPS * 1e3,
        "unit": "ms",
        "peer": "arch 8.0.0",
        "theirs": best_of(theirs) / GARCH_STEPS * 1e3,
        "target": "<= 0.25 ms, log-likelihood within 1e-4",
        "detail": {"largest_relative_lack_of_likelihood": lack},
    }
