"""What the tiers say to each other: frozen messages, parameters, errors.

The seven tiers import no floor but by way of it.
"""

from tiers.contracts.errors import Ambiguous, DataError, HeliosError, ModelMissing, Rejected, Transient
from tiers.contracts.feature_sets import FeatureSet, closed_rows, shortest
from tiers.contracts.messages import (
    BUY,
    HOLD,
    MAX_RISK_MULTIPLIER,
    SELL,
    Bars,
    BarsByTimeframe,
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
    TailLimit,
    TargetWeights,
    TimeArray,
    TradingState,
    VolatilityForecast,
    VolatilityPath,
)
from tiers.contracts.switches import Switches
from trading.market import action_evidence, timeframes
from trading.market.actions import Action
from trading.market.adjust import adjusted
from trading.market.bars import FIELDS, PRICES, TIE, BarTable, Figures, bar_table, concatenated, distinct, split, union
from trading.market.calendars import ALWAYS_OPEN, CALENDARS, LONGEST_CLOSURE, Calendar, calendar
from trading.market.lots import Lot, in_lots
from trading.market.timestamps import MINUTE, SECOND, stamp, utc, utc_times
from trading.market.trades import Trades

__all__ = [
    "ALWAYS_OPEN",
    "BUY",
    "CALENDARS",
    "FIELDS",
    "HOLD",
    "LONGEST_CLOSURE",
    "MAX_RISK_MULTIPLIER",
    "MINUTE",
    "PRICES",
    "SECOND",
    "SELL",
    "TIE",
    "Action",
    "Ambiguous",
    "BarTable",
    "Bars",
    "BarsByTimeframe",
    "BookView",
    "BoolArray",
    "Calendar",
    "DataError",
    "Denial",
    "FeatureSet",
    "Figures",
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
    "TailLimit",
    "TargetWeights",
    "TimeArray",
    "Trades",
    "TradingState",
    "Transient",
    "VolatilityForecast",
    "VolatilityPath",
    "action_evidence",
    "adjusted",
    "bar_table",
    "calendar",
    "closed_rows",
    "concatenated",
    "distinct",
    "in_lots",
    "shortest",
    "split",
    "stamp",
    "timeframes",
    "union",
    "utc",
    "utc_times",
]
