"""What a module of each tier offers. Whoever runs a tier calls these parts of the module in its slot, and nothing else.

A part is pure: no clock, no network but in `LlmTier.ask_model`, no state that changes an answer. `bars` come by
timeframe (1m, 5m, 15m, 1h, 1d); the shortest is decided on, and no bar is there before it has closed. Over history a
longer timeframe reaches beyond the row that is being decided: a part that is asked for many rows takes at each one
only what `contracts.feature_sets.closed_rows` allows. Own bars are those that a symbol has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from tiers.contracts import BarTable, Lot
from tiers.contracts.feature_sets import FeatureSet
from tiers.contracts.messages import (
    BarsByTimeframe,
    BookView,
    FloatArray,
    Forecast,
    MarketContext,
    RiskDecision,
    StrategicView,
    TargetWeights,
    VolatilityForecast,
    VolatilityPath,
)
from tiers.contracts.parameters import ExecuteParams, PipelineParams, PortfolioParams, RiskParams, VolatilityParams
from tiers.contracts.plans import Plan
from tiers.contracts.switches import Switches


class IngestTier(Protocol):
    """Tier 1: raw rows to clean bars, and the bars of longer timeframes that close with them."""

    def window_start(self, timeframe: str, bar_ts: datetime) -> datetime:
        """The time after which `run` needs bars at `bar_ts`."""
        ...

    def run(
        self, rows: Sequence[BarTable], *, timeframe: str, bar_ts: datetime, calendars: Mapping[str, str] | None = None
    ) -> Any:
        """An object with `accepted`, `higher`, `problems` and `missing`, as `tiers.ingest.IngestResult` has them."""
        ...


class FeaturesTier(Protocol):
    """Tier 2: bars to features."""

    def feature_set(self, timeframe: str) -> FeatureSet:
        """The set that is made for decisions on `timeframe`, which is the first of its timeframes."""
        ...

    def run(self, bars: BarsByTimeframe) -> FloatArray:
        """(n_bars, n_symbols, n_columns) of the shortest timeframe's rows; NaN where a value is not known."""
        ...


class Model(Protocol):
    """A trained model, as `PredictTier.load` gives it."""

    @property
    def receptive_bars(self) -> int:
        """Own rows of features behind one forecast."""
        ...

    @property
    def horizon_bars(self) -> int:
        """Own bars that a forecast looks ahead."""
        ...

    def probabilities(self, features: FloatArray) -> FloatArray:
        """(n_bars, n_symbols, 3) of sell, hold, buy; a row is NaN where its input is not complete."""
        ...


class PredictTier(Protocol):
    """Tier 3: features to probabilities."""

    def load(self, folder: Path) -> Any:
        """The `Model` in a folder; `ModelMissing` where it is not there, or not as it was written."""
        ...

    def run(self, predictor: Any, features: FloatArray) -> FloatArray:
        """(n_bars, n_symbols, 3) of sell, hold, buy from (n_bars, n_symbols, n_columns); rows sum to 1 or are NaN."""
        ...


class RiskTier(Protocol):
    """Tier 4: volatility, sizes, leverage and limits."""

    def lookback_bars(self, params: PipelineParams, timeframe: str) -> Mapping[str, int]:
        """Own bars of each timeframe that the parts want at one decision; more never change an answer."""
        ...

    def forecast_volatility(
        self, bars: BarsByTimeframe, *, params: VolatilityParams, garch: bool, first_row: int = 0
    ) -> VolatilityPath:
        """Next-bar volatility at the rows >= `first_row` of the shortest timeframe; `garch`: the book wants GARCH."""
        ...

    def run(
        self,
        *,
        forecast: Forecast,
        volatility: VolatilityForecast,
        book: BookView,
        returns: FloatArray,
        switches: Switches,
        params: RiskParams,
    ) -> RiskDecision:
        """Sizes, bounds, leverage and state; `returns` is (n_window, n_symbols), ending at the bar."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a language model is reached."""

    api_key: str
    base_url: str | None
    model: str
    timeout_s: float


class LlmTier(Protocol):
    """Tier 5: the strategic view on the market, and what it may change."""

    def lookback_bars(self, params: PipelineParams, timeframe: str) -> Mapping[str, int]:
        """As in `RiskTier`."""
        ...

    def market_statistics(self, bars: BarsByTimeframe) -> Any:
        """Whatever `context` wants to know of all rows of the shortest timeframe at once."""
        ...

    def context(
        self,
        statistics: Any,
        row: int,
        *,
        bar_ts: datetime,
        symbols: tuple[str, ...],
        forecast: Forecast,
        book: BookView,
    ) -> MarketContext:
        """What the analyst is shown at that row."""
        ...

    def run(self, context: MarketContext) -> StrategicView:
        """The view without a language model."""
        ...

    def ask_model(self, context: MarketContext, connection: Connection) -> StrategicView:
        """The view of a language model, by this module's prompt; `Transient` or `Rejected` where it gives none."""
        ...

    def enforce(self, risk: RiskDecision, view: StrategicView, switches: Switches) -> RiskDecision:
        """The risk decision with what the view may change in it."""
        ...


class PortfolioTier(Protocol):
    """Tier 6: from the risk decision to target weights."""

    def lookback_bars(self, params: PipelineParams, timeframe: str) -> Mapping[str, int]:
        """As in `RiskTier`."""
        ...

    def run(self, *, risk: RiskDecision, returns: FloatArray, book: BookView, params: PortfolioParams) -> TargetWeights:
        """Target weights inside the bounds; `returns` as in `RiskTier.run`."""
        ...


class ExecuteTier(Protocol):
    """Tier 7: from target weights to orders."""

    def run(
        self, *, targets: TargetWeights, book: BookView, lots: Mapping[str, Lot], params: ExecuteParams, key: str
    ) -> Plan:
        """The orders of the bar; `key` is what makes their ids the book's own."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """The modules of tiers 2 to 7: all that a decision over history is made by."""

    features: FeaturesTier
    predict: PredictTier
    risk: RiskTier
    llm: LlmTier
    portfolio: PortfolioTier
    execute: ExecuteTier


PROTOCOLS: dict[str, type] = {
    "ingest": IngestTier,
    "features": FeaturesTier,
    "predict": PredictTier,
    "risk": RiskTier,
    "llm": LlmTier,
    "portfolio": PortfolioTier,
    "execute": ExecuteTier,
}


def parts(stage: str) -> tuple[str, ...]:
    """The names of the functions that a module of the stage must have."""
    return tuple(name for name in vars(PROTOCOLS[stage]) if not name.startswith("_"))


def lacks(stage: str, name: str) -> str:
    """The sentence for a module without that part."""
    return f"a module of the {stage} tier must have the functions {', '.join(parts(stage))}, it lacks {name}"


class Replaced:
    """A module with other parts in the place of some of its own."""

    def __init__(self, implementation: Any, **others: Any) -> None:
        self._implementation = implementation
        self.__dict__.update(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._implementation, name)
