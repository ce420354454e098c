"""The timeframes Helios knows, and their lengths."""

from __future__ import annotations

from helios.errors import DataError

TIMEFRAMES: dict[str, int] = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "1d": 86_400}


def seconds(timeframe: str) -> int:
    """Length of a bar in seconds; `DataError` names the timeframes that exist."""
    if timeframe not in TIMEFRAMES:
        raise DataError(f"timeframe must be one of {', '.join(TIMEFRAMES)}, was {timeframe!r}")
    return TIMEFRAMES[timeframe]
