"""The timeframes Helios knows; they are kept with the market data."""

from trading.market.timeframes import TIMEFRAMES, seconds

__all__ = ["TIMEFRAMES", "seconds"]
