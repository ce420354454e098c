"""A small market for backtests: random walks with gaps, a model that is a plain function of the features."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from tests.support.apple import action
from tiers.contracts import Bars, FloatArray, TimeArray
from tiers.contracts.parameters import PipelineParams, VolatilityParams
from trading.market.lots import Lot

FIELDS = ("open", "high", "low", "close", "volume")


def lots(bars: Bars, step: str = "0.000001") -> dict[str, Lot]:
    lot = Lot(quantity_step=Decimal(step), min_notional=Decimal(1), price_tick=Decimal("0.01"))
    return dict.fromkeys(bars.symbols, lot)


def market(n_bars: int, n_symbols: int, *, seed: int = 0, gaps: float = 0.0, timeframe: str = "1d") -> Bars:
    """Random walks with a common factor; each bar of each symbol is missing with probability `gaps`."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0004, 0.012, (n_bars, n_symbols)) + rng.normal(0.0, 0.006, (n_bars, 1))
    close = np.round(100 * np.exp(np.cumsum(steps, axis=0)), 2)
    before = np.vstack([close[:1], close[:-1]])
    open_ = np.round(before * np.exp(rng.normal(0.0, 0.003, close.shape)), 2)
    high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
    volume = rng.uniform(1e5, 1e6, close.shape)
    missing = rng.random(close.shape) < gaps
    for field in (open_, high, low, close, volume):
        field[missing] = np.nan
    start = np.datetime64("2010-01-01T21:00:00", "us")
    return Bars(
        timeframe=timeframe,
        symbols=tuple(f"S{column:02d}" for column in range(n_symbols)),
        ts=start + np.arange(n_bars) * np.timedelta64(1, "D"),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
    )


def prices(opens: list[float], closes: list[float], *, symbol: str = "AAPL") -> Bars:
    """One symbol with the given opens and closes."""
    open_, close = np.array(opens)[:, None], np.array(closes)[:, None]
    return Bars(
        timeframe="1d",
        symbols=(symbol,),
        ts=np.datetime64("2020-01-01T21:00:00", "us") + np.arange(len(opens)) * np.timedelta64(1, "D"),
        open=open_,
        high=np.maximum(open_, close),
        low=np.minimum(open_, close),
        close=close,
        volume=np.full(close.shape, 1e6),
    )


def of_closes(close: FloatArray, *, ts: TimeArray | None = None) -> Bars:
    """Daily bars that never left their closes, of (n_bars, n_symbols)."""
    days = np.datetime64("2020-01-01T21:00:00", "us") + np.arange(len(close)) * np.timedelta64(1, "D")
    return Bars(
        timeframe="1d",
        symbols=tuple(f"S{column:02d}" for column in range(close.shape[1])),
        ts=days if ts is None else ts,
        **dict.fromkeys(FIELDS, close),
    )


def shocked(bars: Bars, after: int, *, factor: float = 1.7) -> Bars:
    """The same bars up to and with row `after`; everything behind it is another market."""
    rng = np.random.default_rng(99)
    changed = {}
    for name in FIELDS:
        values = getattr(bars, name).copy()
        values[after + 1 :] *= factor * rng.uniform(0.9, 1.1, values[after + 1 :].shape)
        changed[name] = values
    top = np.maximum(np.maximum(changed["open"], changed["close"]), changed["high"])
    bottom = np.minimum(np.minimum(changed["open"], changed["close"]), changed["low"])
    changed["high"][after + 1 :], changed["low"][after + 1 :] = top[after + 1 :], bottom[after + 1 :]
    return replace(bars, **changed)


class LinearModel:
    """Buys what its features like: a softmax over three fixed mixtures of the last row's features."""

    receptive_bars = 1
    horizon_bars = 5

    def __init__(self, seed: int = 5, strength: float = 0.35) -> None:
        self.seed, self.strength = seed, strength

    def probabilities(self, features: FloatArray) -> FloatArray:
        mix = np.random.default_rng(self.seed).normal(0, self.strength, (features.shape[2], 3))
        logits = np.clip(np.nan_to_num(features), -3, 3) @ mix
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        odds /= odds.sum(axis=2, keepdims=True)
        odds[~np.isfinite(features).all(axis=2)] = np.nan
        return odds


def short_params() -> PipelineParams:
    """Daily parameters with windows short enough for a small market."""
    base = PipelineParams.of("1d", closes=True, cost_bps=7.0)
    return replace(base, volatility=VolatilityParams(window_bars=250, min_returns=100, ewma_bars=100))


def happened(bars: Bars, row: int, kind: str, value: object, *, per: int = 1) -> Bars:
    """The bars, where something happened before a row."""
    made = action(
        str(bars.ts[row].astype("datetime64[D]")),
        kind,
        value,
        per=per,
        symbol=bars.symbols[0],
        before=float(bars.close[row - 1, 0]),
    )
    return replace(bars, actions=(*bars.actions, made))
