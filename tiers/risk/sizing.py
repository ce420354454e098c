"""The risk decision of one bar: how much of each symbol, how much in all, and what was refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tiers.contracts import (
    BookView,
    BoolArray,
    Denial,
    FloatArray,
    Forecast,
    RiskDecision,
    Switches,
    TailLimit,
    TradingState,
    VolatilityForecast,
)
from tiers.contracts.errors import DataError
from tiers.contracts.parameters import RiskParams
from tiers.risk import kelly, limits


def decide(
    *,
    forecast: Forecast,
    volatility: VolatilityForecast,
    book: BookView,
    returns: FloatArray,
    switches: Switches,
    params: RiskParams,
) -> RiskDecision:
    """Size, bounds, leverage and state for every symbol at this bar.

    `returns` is (n_window, n_symbols) simple returns that end at the bar. Without a forecast, without a
    volatility, or without a bar, a symbol is neutral: expected return 0 and no weight above the one it has.
    Refusals are `denials`. `DataError` when the inputs speak of different bars or symbols.
    """
    _check_input(forecast, volatility, book, returns)
    weights = book.weights
    held = np.maximum(weights, 0.0)
    sigma = np.where(volatility.sigma > 0.0, volatility.sigma, np.nan)
    no_sigma: BoolArray = np.isnan(sigma)
    no_forecast: BoolArray = np.isnan(forecast.probability.sum(axis=1))
    neutral = no_sigma | no_forecast | ~book.tradable
    expected, size = _sizes(forecast, sigma, switches, params)
    expected, size = np.where(neutral, 0.0, expected), np.where(neutral, held, size)
    max_weight = np.where(neutral, np.minimum(held, params.max_weight), params.max_weight)
    correlations = limits.mean_correlations(returns, params.min_history)
    leverage = limits.target_leverage(book.symbols, sigma, _mean(correlations), params)
    drawdown = book.drawdown
    leverage *= limits.deleveraging(drawdown, params)
    state = limits.next_state(book.state, drawdown, params)
    denials = _missing(book, no_sigma, no_forecast)
    denials += _above_weight(book, np.where(neutral, 0.0, size), params.max_weight)
    denials += _above_book(float(np.abs(weights).sum()), drawdown, state, params)
    if switches.advanced_risk_engine:
        listed = np.array([symbol in switches.advanced_risk_engine for symbol in book.symbols]) & ~neutral
        max_weight, joint = _limit_correlation(book, correlations, (listed, held, max_weight), params)
        denials += joint
    return RiskDecision(
        bar_ts=forecast.bar_ts,
        symbols=forecast.symbols,
        sigma=sigma,
        expected_return=expected,
        size=size,
        max_weight=max_weight,
        leverage=leverage,
        state=state,
        tail=_tail_limit(book.symbols, switches, params),
        denials=tuple(denials),
    )


def _check_input(forecast: Forecast, volatility: VolatilityForecast, book: BookView, returns: FloatArray) -> None:
    if not forecast.symbols == volatility.symbols == book.symbols:
        raise DataError(
            "forecast, volatility and book must speak of the same symbols, were "
            f"{forecast.symbols}, {volatility.symbols} and {book.symbols}"
        )
    if not forecast.bar_ts == volatility.bar_ts == book.bar_ts:
        raise DataError(
            "forecast, volatility and book must speak of the same bar, were "
            f"{forecast.bar_ts}, {volatility.bar_ts} and {book.bar_ts}"
        )
    if returns.ndim != 2 or returns.shape[1] != len(book.symbols):
        raise DataError(f"returns must be (n_window, {len(book.symbols)}), was {returns.shape}")


def _sizes(
    forecast: Forecast, sigma: FloatArray, switches: Switches, params: RiskParams
) -> tuple[FloatArray, FloatArray]:
    """Expected return per bar and fraction of equity, NaN where an input is unknown."""
    expected = kelly.expected_return(
        forecast.probability, sigma, horizon_bars=forecast.horizon_bars, edge_scale=params.edge_scale
    )
    if switches.kelly_position_sizing:
        return expected, kelly.kelly_size(expected, sigma, fraction=params.kelly_fraction, cap=params.kelly_cap)
    return expected, kelly.fixed_size(expected, fraction=params.fixed_fraction)


def _mean(values: FloatArray) -> float:
    """Mean of the known values, NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _missing(book: BookView, no_sigma: BoolArray, no_forecast: BoolArray) -> list[Denial]:
    """A denial for every tradable symbol that lacks an input; one without a bar asks for nothing."""
    if not (no_sigma | no_forecast).any():
        return []
    return [
        Denial(code=code, observed=1.0, limit=0.0, symbol=book.symbols[j])
        for code, absent in (("VOLATILITY_UNKNOWN", no_sigma), ("FORECAST_MISSING", no_forecast))
        for j in np.flatnonzero(absent & book.tradable)
    ]


def _above_weight(book: BookView, size: FloatArray, limit: float) -> list[Denial]:
    """A denial for every size that the bound on a single weight cuts."""
    return [
        Denial(code="WEIGHT_ABOVE_LIMIT", observed=float(size[j]), limit=limit, symbol=book.symbols[j])
        for j in np.flatnonzero(size > limit)
    ]


def _above_book(gross: float, drawdown: float, state: TradingState, params: RiskParams) -> list[Denial]:
    """Denials by the book's gross exposure and drawdown."""
    found = []
    if gross > params.max_gross:
        found.append(Denial(code="GROSS_ABOVE_LIMIT", observed=gross, limit=params.max_gross))
    if state is not TradingState.ACTIVE:
        limit = params.halt_drawdown if state is TradingState.HALTED else params.resume_drawdown
        if drawdown >= limit:
            found.append(Denial(code="DRAWDOWN_ABOVE_LIMIT", observed=drawdown, limit=limit))
    return found


Limited = tuple[BoolArray, FloatArray, FloatArray]  # which symbols, their weights, their bounds so far


def _tail_limit(symbols: Sequence[str], switches: Switches, params: RiskParams) -> TailLimit | None:
    """The limit on the loss of the worst bars, to which the listed symbols give way; none where none is listed."""
    listed = tuple(symbol for symbol in symbols if symbol in switches.advanced_risk_engine)
    if not listed:
        return None
    return TailLimit(
        symbols=listed,
        max_cvar=params.max_cvar,
        confidence=params.cvar_confidence,
        min_history=params.min_history,
    )


def _limit_correlation(
    book: BookView, correlations: FloatArray, limited: Limited, params: RiskParams
) -> tuple[FloatArray, list[Denial]]:
    """No new exposure to a listed symbol that moves with all others."""
    listed, held, max_weight = limited
    listed = listed & (correlations > params.max_correlation)
    found = [
        Denial(
            code="CORRELATION_ABOVE_LIMIT",
            observed=float(correlations[j]),
            limit=params.max_correlation,
            symbol=book.symbols[j],
        )
        for j in np.flatnonzero(listed)
    ]
    return np.where(listed, np.minimum(held, max_weight), max_weight), found
