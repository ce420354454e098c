"""The timeframes Helios knows, and their lengths."""

from __future__ import annotations

from helios.errors import DataError
from trading.enums import Timeframe

TIMEFRAMES: dict[str, int] = {
    Timeframe.M1.value: 60,
    Timeframe.M5.value: 300,
    Timeframe.M15.value: 900,
    Timeframe.H1.value: 3_600,
    Timeframe.D1.value: 86_400,
}


def seconds(timeframe: str) -> int:
    """Length of a bar in seconds; `DataError` names the timeframes that exist."""
    if timeframe not in TIMEFRAMES:
        raise DataError(f"timeframe must be one of {', '.join(TIMEFRAMES)}, was {timeframe!r}")
    return TIMEFRAMES[timeframe]
