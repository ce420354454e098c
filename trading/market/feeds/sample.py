"""The bundled data as a feed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np

from trading.market.bars import BarTable
from trading.market.timestamps import stamp


@dataclass(frozen=True, slots=True)
class SampleSource:
    """The data sets that ship with Helios."""

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> BarTable:
        """The bundled bars of one symbol with closes in [start, end]."""
        whole = _whole(symbol, timeframe)
        return whole.take(np.asarray((whole.ts >= stamp(start)) & (whole.ts <= stamp(end))))


@lru_cache(maxsize=32)
def _whole(symbol: str, timeframe: str) -> BarTable:
    from trading import sample_data  # noqa: PLC0415 - polars is only loaded where files are read
    from trading.market.feeds.files import table_from_frame  # noqa: PLC0415 - so it is there

    return table_from_frame(symbol, timeframe, sample_data.load(symbol, timeframe))
