"""What the tiers say to each other: frozen messages, parameters, errors.

The seven tiers import no floor but by way of it.
"""

from tiers.contracts.errors import Ambiguous, DataError, HeliosError, ModelMissing, Rejected, Transient
from tiers.contracts.messages import (
    BUY,
    HOLD,
    SELL,
    Bars,
    BookView,
    BoolArray,
    Denial,
    FloatArray,
    Forecast,
    MarketContext,
    OrderIntent,
    RiskDecision,
    Side,
    Signal,
    Stance,
    StrategicView,
    Switches,
    TargetWeights,
    TimeArray,
    TradingState,
    VolatilityForecast,
)

__all__ = [
    "BUY",
    "HOLD",
    "SELL",
    "Ambiguous",
    "Bars",
    "BookView",
    "BoolArray",
    "DataError",
    "Denial",
    "FloatArray",
    "Forecast",
    "HeliosError",
    "MarketContext",
    "ModelMissing",
    "OrderIntent",
    "Rejected",
    "RiskDecision",
    "Side",
    "Signal",
    "Stance",
    "StrategicView",
    "Switches",
    "TargetWeights",
    "TimeArray",
    "TradingState",
    "Transient",
    "VolatilityForecast",
]
