"""What every feed can do."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from trading.market.bars import BarTable


class BarSource(Protocol):
    """Anything that can be asked for bars."""

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> BarTable:
        """The bars of one symbol whose closes lie in [start, end], as they came: nothing is promised about them."""
        ...
