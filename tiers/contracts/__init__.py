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
from trading.market import timeframes
from trading.market.bars import FIELDS, PRICES, BarTable, bar_table, split, union
from trading.market.calendars import ALWAYS_OPEN, CALENDARS, Calendar, calendar
from trading.market.lots import Lot, in_lots
from trading.market.timestamps import stamp, utc, utc_times

__all__ = [
    "ALWAYS_OPEN",
    "BUY",
    "CALENDARS",
    "FIELDS",
    "HOLD",
    "PRICES",
    "SELL",
    "Ambiguous",
    "BarTable",
    "Bars",
    "BookView",
    "BoolArray",
    "Calendar",
    "DataError",
    "Denial",
    "FloatArray",
    "Forecast",
    "HeliosError",
    "Lot",
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
    "bar_table",
    "calendar",
    "in_lots",
    "split",
    "stamp",
    "timeframes",
    "union",
    "utc",
    "utc_times",
]
