"""Inputs of every stage, made from a seed alone and true to the stage's contract."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from tiers.contracts import (
    BarsByTimeframe,
    BookView,
    BoolArray,
    FloatArray,
    Forecast,
    MarketContext,
    RiskDecision,
    TargetWeights,
    TradingState,
    VolatilityForecast,
)
from trading.market.bars import FIELDS, Bars, BarTable, split
from trading.market.lots import Lot
from trading.market.timeframes import seconds
from trading.market.timestamps import stamp

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
BAR_TS = datetime(2024, 3, 6, 15, 0, tzinfo=UTC)  # a full hour: every intraday bar closes here
HORIZON_BARS = 5
REGIMES = ("trending_up", "trending_down", "ranging", "turbulent", "unknown")
UNKNOWN = ("trend", "volatility_ratio", "breadth", "mean_edge")  # the figures that an unknown market lacks


def bars(seed: int, *, n_bars: int = 480, n_symbols: int = 6, timeframe: str = "1h", whole: bool = False) -> Bars:
    """Random walks with ranges and volumes, ending at `BAR_TS`; unless `whole`, one bar in thirty is missing.

    The last symbol begins late, the newest bar is there for all.
    """
    rng = np.random.default_rng(seed)
    shape = (n_bars, n_symbols)
    close = 100.0 * np.exp(np.cumsum(0.01 * rng.standard_normal(shape), axis=0))
    opened = close * np.exp(0.002 * rng.standard_normal(shape))
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    fields: dict[str, Any] = {
        "open": opened,
        "high": top * (1.0 + 0.004 * rng.random(shape)),
        "low": bottom * (1.0 - 0.004 * rng.random(shape)),
        "close": close,
        "volume": 1_000.0 * (1.0 + rng.random(shape)),
    }
    if not whole:
        absent = rng.random(shape) < 1.0 / 30.0
        absent[: n_bars // 4, -1] = True
        absent[-1] = False
        for values in fields.values():
            values[absent] = np.nan
    return Bars(timeframe=timeframe, symbols=SYMBOLS[:n_symbols], ts=timeline(n_bars, timeframe), **fields)


def by_timeframe(seed: int, *, n_bars: int = 480, n_symbols: int = 6, whole: bool = False) -> dict[str, Bars]:
    """`bars` of 1h, which are decided on, and of 1d: a market of its own, whose bars close with hours."""
    return {
        timeframe: bars(seed + place, n_bars=n_bars, n_symbols=n_symbols, timeframe=timeframe, whole=whole)
        for place, timeframe in enumerate(("1h", "1d"))
    }


def shocked(market: BarsByTimeframe, last: np.datetime64, seed: int) -> dict[str, Bars]:
    """The same bars as far as they had closed at `last`, other ones from there on, as whole as before."""
    made = {}
    for name, each in market.items():
        row = int(np.searchsorted(each.ts, last, side="right"))
        factor = 1.0 + 0.5 * np.random.default_rng(seed).random((each.n_bars - row, each.n_symbols))
        values = {field: getattr(each, field).copy() for field in FIELDS}
        for value in values.values():
            value[row:] *= factor
        made[name] = replace(each, **values)
    return made


def timeline(n_bars: int, timeframe: str) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    """Consecutive closes that end at `BAR_TS`, (n_bars,)."""
    last = stamp(BAR_TS)
    step = np.timedelta64(seconds(timeframe) * 1_000_000, "us")
    return np.asarray(last - step * np.arange(n_bars)[::-1])


def tables(seed: int, *, n_bars: int = 60, n_symbols: int = 3, whole: bool = False) -> list[BarTable]:
    """One-minute tables as a source gives them, an hour up to `BAR_TS`."""
    return list(split(bars(seed, n_bars=n_bars, n_symbols=n_symbols, timeframe="1m", whole=whole)))


def book(
    seed: int,
    *,
    held: FloatArray | None = None,
    drawdown: float = 0.0,
    state: TradingState = TradingState.ACTIVE,
    tradable: BoolArray | None = None,
) -> BookView:
    """A book of one hundred thousand with weights `held` (none by default), `drawdown` below its peak."""
    rng = np.random.default_rng(seed)
    n = len(SYMBOLS)
    equity = Decimal(100_000)
    price = tuple(Decimal(f"{value:.2f}") for value in 20.0 + 300.0 * rng.random(n))
    weights = np.zeros(n) if held is None else held
    # quantities stay whole lots of a thousandth, so that a held weight is one that could have been bought
    quantity = tuple(
        (Decimal(f"{weight:.6f}") * equity / each).quantize(Decimal("0.001"))
        for weight, each in zip(weights, price, strict=True)
    )
    worth = sum((q * p for q, p in zip(quantity, price, strict=True)), Decimal(0))
    return BookView(
        bar_ts=BAR_TS,
        symbols=SYMBOLS,
        equity=equity,
        peak_equity=(equity / Decimal(str(1.0 - drawdown))).quantize(Decimal("0.00000001")),
        cash=equity - worth,
        quantity=quantity,
        price=price,
        tradable=np.ones(n, dtype=np.bool_) if tradable is None else tradable,
        state=state,
    )


def holdings(seed: int, *, gross: float = 0.6) -> FloatArray:
    """Long weights of the six symbols that sum to `gross`, one of them zero."""
    rng = np.random.default_rng(seed + 10_000)
    weights = rng.random(len(SYMBOLS))
    weights[seed % len(SYMBOLS)] = 0.0
    return np.asarray(np.round(gross * weights / weights.sum(), 6))


def forecast(seed: int, *, unknown: tuple[int, ...] = ()) -> Forecast:
    """Probabilities of all symbols with edges on both sides; NaN for the `unknown` ones."""
    rng = np.random.default_rng(seed + 20_000)
    probability = rng.dirichlet((2.0, 3.0, 3.0), size=len(SYMBOLS))
    probability[list(unknown)] = np.nan
    return Forecast(
        bar_ts=BAR_TS,
        symbols=SYMBOLS,
        probability=probability,
        horizon_bars=(HORIZON_BARS,) * len(SYMBOLS),
        model_names=tuple("" if j in unknown else "gate" for j in range(len(SYMBOLS))),
    )


def volatility(seed: int, *, factor: float = 1.0, unknown: tuple[int, ...] = ()) -> VolatilityForecast:
    """Per-bar volatilities between one and three per cent times `factor`; NaN for the `unknown` ones."""
    rng = np.random.default_rng(seed + 30_000)
    sigma = factor * (0.01 + 0.02 * rng.random(len(SYMBOLS)))
    sigma[list(unknown)] = np.nan
    return VolatilityForecast(
        bar_ts=BAR_TS,
        symbols=SYMBOLS,
        sigma=sigma,
        methods=tuple("" if j in unknown else "garch" for j in range(len(SYMBOLS))),
    )


def returns(seed: int, *, n_window: int = 120) -> FloatArray:
    """Simple returns with one factor in common, (n_window, n_symbols)."""
    rng = np.random.default_rng(seed + 40_000)
    common = rng.standard_normal((n_window, 1))
    own = rng.standard_normal((n_window, len(SYMBOLS)))
    return np.asarray(0.01 * (0.5 * common + own))


def decision(
    seed: int,
    *,
    state: TradingState = TradingState.ACTIVE,
    leverage: float = 0.9,
    unknown: tuple[int, ...] = (),
) -> RiskDecision:
    """Bounds of a risk engine: sizes and largest weights up to 0.4, `leverage` in all."""
    rng = np.random.default_rng(seed + 50_000)
    n = len(SYMBOLS)
    sigma = volatility(seed, unknown=unknown).sigma
    expected = np.where(np.isnan(sigma), 0.0, 0.002 * rng.standard_normal(n))
    size = np.where(expected > 0.0, 0.05 + 0.5 * rng.random(n), 0.0)
    return RiskDecision(
        bar_ts=BAR_TS,
        symbols=SYMBOLS,
        sigma=sigma,
        expected_return=expected,
        size=size,
        max_weight=0.2 + 0.2 * rng.random(n),
        leverage=leverage,
        state=state,
    )


def context(seed: int, regime: str = "", **changes: object) -> MarketContext:
    """A market in that regime (one by the seed when none is named), its figures true to it; `changes` replace some."""
    rng = np.random.default_rng(seed + 60_000)
    regime = regime or REGIMES[seed % len(REGIMES)]
    direction = {"trending_up": 1.0, "trending_down": -1.0}.get(regime, 0.0)
    figures: dict[str, object] = {
        "trend": direction * float(0.5 + rng.random()) if direction else float(rng.uniform(-0.45, 0.45)),
        "volatility_ratio": float(1.8 + 2.0 * rng.random() if regime == "turbulent" else 0.5 + rng.random()),
        "breadth": float(0.5 + 0.45 * direction * rng.random()),
        "mean_edge": float(rng.normal(0.0, 0.1)),
        "drawdown": float(0.1 * rng.random()),
        "gross_exposure": float(rng.random()),
    }
    values = {**figures, **(dict.fromkeys(UNKNOWN, math.nan) if regime == "unknown" else {}), **changes}
    return MarketContext(bar_ts=BAR_TS, symbols=SYMBOLS, regime=regime, **values)  # type: ignore[arg-type]


def lots() -> dict[str, Lot]:
    """Trading steps that differ from symbol to symbol."""
    steps = ("0.001", "0.01", "0.1", "1", "0.001", "0.5")
    return {
        symbol: Lot(quantity_step=Decimal(step), min_notional=Decimal(10), price_tick=Decimal("0.01"))
        for symbol, step in zip(SYMBOLS, steps, strict=True)
    }


def targets(seed: int, view: BookView, *, gross: float = 0.8) -> TargetWeights:
    """Wanted weights for a book: some larger, some smaller, one zero, one as it is."""
    weights = holdings(seed + 1, gross=gross)
    previous = view.weights
    kept = (seed + 3) % len(SYMBOLS)
    weights[kept] = previous[kept]
    return TargetWeights(
        bar_ts=BAR_TS,
        symbols=SYMBOLS,
        weights=weights,
        previous=previous,
        turnover=float(np.abs(weights - previous).sum()),
        method="gate",
        reason="rebalance",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shock:
    """A future that differs: everything from `row` on is other than before."""

    row: int
    seed: int

    def of(self, values: FloatArray) -> FloatArray:
        """A copy with another future, of the same sign and absences; (n, ...)."""
        out = values.copy()
        rng = np.random.default_rng(self.seed)
        out[self.row :] *= 1.0 + 0.5 * rng.random(out[self.row :].shape)
        return out
