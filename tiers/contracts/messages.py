"""Frozen messages between the stages of the pipeline.

Shapes: `n_bars` bars, `n_symbols` symbols, `n_features` features. Everything statistical is float64 and a
missing value is NaN; everything that is money is `Decimal`. A bar is named by its close in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from trading.enums import Side, Signal, Stance, TradingState
from trading.market.bars import Bars, BoolArray, FloatArray, IntArray, TimeArray

SELL, HOLD, BUY = 0, 1, 2  # columns of a probability array
MAX_RISK_MULTIPLIER = 1.5  # the most that a strategic view may ask for
BarsByTimeframe = Mapping[str, Bars]  # the shortest timeframe is the one that is decided on


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A refusal as a value: what was looked at, what it was, what it may be at most."""

    code: str
    observed: float
    limit: float
    symbol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Probabilities for the next bars of each symbol, as many as the model that spoke of it looks ahead.

    `probability` is (n_symbols, 3) in the order sell, hold, buy; rows sum to 1, and a row is NaN where the
    model had no complete input (the symbol is then neutral for every later stage).
    """

    bar_ts: datetime
    symbols: tuple[str, ...]
    probability: FloatArray
    horizon_bars: tuple[int, ...]  # (n_symbols,) own bars
    model_names: tuple[str, ...]  # (n_symbols,) which model spoke; "" where none did


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityForecast:
    """Next-bar volatility (standard deviation of the log return, per bar), NaN where unknown."""

    bar_ts: datetime
    symbols: tuple[str, ...]
    sigma: FloatArray  # (n_symbols,)
    methods: tuple[str, ...]  # how each was found, such as "garch" or "ewma"; "" where unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class VolatilityPath:
    """Volatility over time, (n_bars, n_symbols) each: `sigma` per bar as in a forecast, `method` a code.

    `names` gives the name of each code, "" first: unknown. `preferred` is the method that was asked for, where any
    other one stands in for it; empty where none does.
    """

    sigma: FloatArray
    method: npt.NDArray[np.int8]
    names: tuple[str, ...]
    preferred: str = ""

    def methods(self, row: int) -> tuple[str, ...]:
        """Method names of one row, (n_symbols,)."""
        return tuple(self.names[code] for code in self.method[row])

    def at(self, row: int, *, bar_ts: datetime, symbols: tuple[str, ...]) -> VolatilityForecast:
        """The forecast of one row."""
        return VolatilityForecast(bar_ts=bar_ts, symbols=symbols, sigma=self.sigma[row], methods=self.methods(row))


@dataclass(frozen=True, slots=True, kw_only=True)
class BookView:
    """What the book holds when the bar closes: all that the later stages may know about it."""

    bar_ts: datetime
    symbols: tuple[str, ...]
    equity: Decimal
    peak_equity: Decimal
    cash: Decimal
    quantity: tuple[Decimal, ...]  # (n_symbols,) signed
    price: tuple[Decimal | None, ...]  # (n_symbols,) last close known, None before the first
    tradable: BoolArray  # (n_symbols,) has a bar at bar_ts
    state: TradingState = TradingState.ACTIVE
    waiting: Mapping[str, Decimal] = field(default_factory=dict)  # signed, by symbol without a bar: orders before it
    ended: frozenset[str] = frozenset()  # symbols whose last bar closed more than a week before bar_ts

    @property
    def has_ended(self) -> BoolArray:
        """(n_symbols,) which of them have ended."""
        return np.array([symbol in self.ended for symbol in self.symbols], dtype=np.bool_)

    @property
    def weights(self) -> FloatArray:
        """What the tiers count on, (n_symbols,): `held_weights` as if `waiting` had filled at the last closes."""
        pairs = zip(self.symbols, self.quantity, strict=True)
        return self._weights([q + self.waiting[s] if s in self.waiting else q for s, q in pairs])

    @property
    def held_weights(self) -> FloatArray:
        """Position values over equity, (n_symbols,); zero where nothing is held or nothing is priced."""
        return self._weights(self.quantity)

    def _weights(self, quantity: Sequence[Decimal]) -> FloatArray:
        equity = float(self.equity)
        if equity <= 0:
            return np.zeros(len(self.symbols))
        priced = zip(quantity, self.price, strict=True)
        return np.array([float(q * p) / equity if p is not None else 0.0 for q, p in priced])

    @property
    def free_cash(self) -> Decimal:
        """Cash less what the waiting purchases cost at the last price; what waiting sales bring is not here yet."""
        price = dict(zip(self.symbols, self.price, strict=True))
        return self.cash - sum((q * (price[s] or 0) for s, q in self.waiting.items() if q > 0), Decimal(0))

    def standing(self, state: TradingState) -> frozenset[str]:
        """The symbols whose waiting orders outlive this decision; it ends those of all others.

        What has no bar was not decided about. In a book that may only reduce, orders that add end all the same, and
        all of them in a halted one.
        """
        held = dict(zip(self.symbols, self.quantity, strict=True))
        reduces = {s for s, q in self.waiting.items() if q * held[s] < 0 and abs(q) <= abs(held[s])}
        allowed = {TradingState.ACTIVE: set(self.waiting), TradingState.REDUCING: reduces}
        return frozenset(allowed.get(state, ()))

    @property
    def drawdown(self) -> float:
        """Loss from the highest equity so far, 0 to 1."""
        return 0.0 if self.peak_equity <= 0 else max(0.0, 1.0 - float(self.equity / self.peak_equity))


@dataclass(frozen=True, slots=True, kw_only=True)
class TailLimit:
    """The largest mean loss of the book's worst bars (`contracts.tail`), and the symbols that give way to it."""

    symbols: tuple[str, ...]
    max_cvar: float  # fraction of equity, per bar
    confidence: float
    min_history: int  # rows of returns below which the loss is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskDecision:
    """How much of each symbol the risk engine allows at this bar."""

    bar_ts: datetime
    symbols: tuple[str, ...]
    sigma: FloatArray  # (n_symbols,) per-bar volatility, NaN where unknown
    expected_return: FloatArray  # (n_symbols,) per bar, 0 where neutral
    size: FloatArray  # (n_symbols,) Kelly or fixed fraction of equity before leverage, >= 0
    max_weight: FloatArray  # (n_symbols,) upper bound on the target weight, >= 0
    leverage: float  # upper bound on the sum of target weights
    state: TradingState
    tail: TailLimit | None = None  # holds for the target weights themselves
    denials: tuple[Denial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketContext:
    """The snapshot that the strategic analyst reads; every figure is known at `bar_ts`."""

    bar_ts: datetime
    symbols: tuple[str, ...]
    regime: str  # "trending_up", "trending_down", "ranging", "turbulent"
    trend: float  # mean over symbols of the fast/slow average gap in volatilities
    volatility_ratio: float  # mean over symbols of current over typical volatility
    breadth: float  # share of symbols above their slow average, 0..1
    mean_edge: float  # mean of p(buy) - p(sell)
    drawdown: float
    gross_exposure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategicView:
    """The analyst's reply. `risk_multiplier` scales the leverage bound when the view may decide."""

    bar_ts: datetime
    provider: str  # "rules", "anthropic", "off", "fallback"
    stance: Stance
    conviction: float  # 0..1
    risk_multiplier: float  # 0..1.5
    reasoning: str
    usage: dict[str, int] = field(default_factory=dict)

    @classmethod
    def neutral(cls, bar_ts: datetime, *, provider: str, reasoning: str) -> StrategicView:
        """The view that changes nothing: for a tier that is off, or whose analyst did not answer."""
        return cls(
            bar_ts=bar_ts,
            provider=provider,
            stance=Stance.NEUTRAL,
            conviction=0.0,
            risk_multiplier=1.0,
            reasoning=reasoning,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetWeights:
    """The wanted weights at this bar, rounded to six decimals so that live and batch agree exactly."""

    bar_ts: datetime
    symbols: tuple[str, ...]
    weights: FloatArray  # (n_symbols,)
    previous: FloatArray  # (n_symbols,)
    turnover: float  # sum of absolute changes
    method: str
    reason: str  # "rebalance", "no_change", "reducing", "halted", ...
    denials: tuple[Denial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntent:
    """A market order for the next bar's open, with an id that names its decision."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal  # > 0
    reference_price: Decimal  # close at the decision
    bar_ts: datetime

    @property
    def notional(self) -> Decimal:
        return self.quantity * self.reference_price


__all__ = [
    "BUY",
    "HOLD",
    "MAX_RISK_MULTIPLIER",
    "SELL",
    "Bars",
    "BarsByTimeframe",
    "BookView",
    "BoolArray",
    "Denial",
    "FloatArray",
    "Forecast",
    "IntArray",
    "MarketContext",
    "OrderIntent",
    "RiskDecision",
    "Side",
    "Signal",
    "Stance",
    "StrategicView",
    "TailLimit",
    "TargetWeights",
    "TimeArray",
    "TradingState",
    "VolatilityForecast",
    "VolatilityPath",
]
