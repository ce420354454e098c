"""Tables of the trading domain: fields and constraints, nothing else."""

from trading.models.books import Book, PortfolioSnapshot, Position, RebalancingEvent
from trading.models.cycles import PipelineCycle, Stage, StageRun
from trading.models.decisions import MarketContextSnapshot, RiskDecision, StrategicDecision, VolatilityForecast
from trading.models.feeds import Feed
from trading.models.ledger import LedgerEntry, TradingModeChange
from trading.models.market import (
    BarCorrection,
    CorporateAction,
    EngineeredFeatures,
    FeedCoverage,
    Instrument,
    MarketGap,
    MarketOHLC,
    MarketTrade,
    OrderBookSnapshot,
)
from trading.models.orders import Balance, BookedAction, Order, PaperOrder, TradeExecution
from trading.models.signals import MLModel, MLPrediction

__all__ = [
    "Balance",
    "BarCorrection",
    "Book",
    "BookedAction",
    "CorporateAction",
    "EngineeredFeatures",
    "Feed",
    "FeedCoverage",
    "Instrument",
    "LedgerEntry",
    "MLModel",
    "MLPrediction",
    "MarketContextSnapshot",
    "MarketGap",
    "MarketOHLC",
    "MarketTrade",
    "Order",
    "OrderBookSnapshot",
    "PaperOrder",
    "PipelineCycle",
    "PortfolioSnapshot",
    "Position",
    "RebalancingEvent",
    "RiskDecision",
    "Stage",
    "StageRun",
    "StrategicDecision",
    "TradeExecution",
    "TradingModeChange",
    "VolatilityForecast",
]
