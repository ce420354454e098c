"""Small worlds for the tests of risk, llm, portfolio and execute."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

from tiers.contracts import (
    BookView,
    FloatArray,
    Forecast,
    MarketContext,
    RiskDecision,
    TargetWeights,
    TradingState,
    VolatilityForecast,
)

BAR_TS = datetime(2012, 3, 1, 21, 0, tzinfo=UTC)
SYMBOLS = ("AAPL", "GOOG", "IBM")


def use_plain_twins(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """Replace every compiled function of the modules by the Python it was compiled from."""
    for module in modules:
        for name, value in list(vars(module).items()):
            if isinstance(value, CPUDispatcher):
                monkeypatch.setattr(module, name, value.py_func)


def simulated_returns(
    n: int, seed: int, *, omega: float = 0.05, alpha: float = 0.09, beta: float = 0.86, scale: float = 0.012
) -> FloatArray:
    """Log returns of a GARCH(1,1) process, (n,)."""
    rng = np.random.default_rng(seed)
    out, variance = np.empty(n), omega / (1 - alpha - beta)
    for k in range(n):
        out[k] = np.sqrt(variance) * rng.standard_normal()
        variance = omega + alpha * out[k] ** 2 + beta * variance
    return out * scale


def prices(n_bars: int, n_symbols: int, seed: int = 0) -> FloatArray:
    """(n_bars, n_symbols) closes of independent GARCH walks around 100."""
    paths = [np.cumsum(simulated_returns(n_bars, seed + j)) for j in range(n_symbols)]
    return 100.0 * np.exp(np.stack(paths, axis=1))


def book(
    weights: tuple[float, ...] = (0.0, 0.0, 0.0),
    *,
    price: tuple[float | None, ...] | None = None,
    equity: str = "100000",
    peak: str | None = None,
    tradable: tuple[bool, ...] | None = None,
    state: TradingState = TradingState.ACTIVE,
    symbols: tuple[str, ...] | None = None,
) -> BookView:
    """A book with about these weights (exactly these when prices divide evenly)."""
    named = symbols or SYMBOLS[: len(weights)]
    known = price or (100.0,) * len(weights)
    money = tuple(None if p is None else Decimal(str(p)) for p in known)
    held = tuple(
        Decimal(0) if p is None else Decimal(repr(float(w))) * Decimal(equity) / p
        for w, p in zip(weights, money, strict=True)
    )
    value = sum((q * p for q, p in zip(held, money, strict=True) if p is not None), Decimal(0))
    return BookView(
        bar_ts=BAR_TS,
        symbols=named,
        equity=Decimal(equity),
        peak_equity=Decimal(peak or equity),
        cash=Decimal(equity) - value,
        quantity=held,
        price=money,
        tradable=np.array(tradable or (True,) * len(weights)),
        state=state,
    )


def forecast(edge: tuple[float, ...], *, hold: float = 0.2, horizon_bars: int = 5) -> Forecast:
    """Probabilities with p(buy) - p(sell) = edge; a NaN edge is a missing forecast."""
    e = np.array(edge)
    rest = 1.0 - hold
    probability = np.stack([(rest - e) / 2, np.where(np.isnan(e), np.nan, hold), (rest + e) / 2], axis=1)
    return Forecast(
        bar_ts=BAR_TS,
        symbols=SYMBOLS[: len(edge)],
        probability=probability,
        horizon_bars=(horizon_bars,) * len(edge),
        model_names=("compact",) * len(edge),
    )


def volatility_forecast(*sigma: float) -> VolatilityForecast:
    return VolatilityForecast(
        bar_ts=BAR_TS, symbols=SYMBOLS[: len(sigma)], sigma=np.array(sigma), methods=("garch",) * len(sigma)
    )


def returns(n_window: int = 120, n_symbols: int = 3, *, common: float = 0.5, seed: int = 1) -> FloatArray:
    """(n_window, n_symbols) returns that share one factor."""
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((n_window, 1))
    own = rng.standard_normal((n_window, n_symbols))
    return 0.01 * (np.sqrt(common) * factor + np.sqrt(1 - common) * own)


def risk_decision(
    expected: tuple[float, ...],
    *,
    sigma: tuple[float, ...] | None = None,
    size: tuple[float, ...] | None = None,
    max_weight: tuple[float, ...] | None = None,
    leverage: float = 1.0,
    state: TradingState = TradingState.ACTIVE,
) -> RiskDecision:
    n = len(expected)
    return RiskDecision(
        bar_ts=BAR_TS,
        symbols=SYMBOLS[:n],
        sigma=np.array(sigma or (0.012,) * n),
        expected_return=np.array(expected),
        size=np.array(size or (0.5,) * n),
        max_weight=np.array(max_weight or (0.4,) * n),
        leverage=leverage,
        state=state,
    )


def targets(weights: tuple[float, ...], previous: tuple[float, ...]) -> TargetWeights:
    new, old = np.array(weights), np.array(previous)
    return TargetWeights(
        bar_ts=BAR_TS,
        symbols=SYMBOLS[: len(weights)],
        weights=new,
        previous=old,
        turnover=float(np.abs(new - old).sum()),
        method="mean_variance",
        reason="rebalance",
    )


def market_context(**changes: object) -> MarketContext:
    """A calm market that goes nowhere, changed as asked."""
    calm = MarketContext(
        bar_ts=BAR_TS,
        symbols=SYMBOLS,
        regime="ranging",
        trend=0.1,
        volatility_ratio=1.0,
        breadth=0.5,
        mean_edge=0.02,
        drawdown=0.01,
        gross_exposure=0.6,
    )
    return replace(calm, **changes)
