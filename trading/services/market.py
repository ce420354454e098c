"""Writes of market data: bars by COPY, with late corrections counted and kept as revisions."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from django.db import connection, transaction

from helios.events import record
from helios.platform.db import ensure_partitions
from tiers.contracts import Bars
from tiers.errors import DataError
from trading.models import Instrument, MarketOHLC
from trading.models.lots import Lot
from trading.wire import copy_rows

COLUMNS = "symbol, timeframe, bar_ts, open, high, low, close, volume"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertResult:
    """What became of the bars that were handed over; the three sum to their number."""

    inserted: int = 0
    corrected: int = 0
    unchanged: int = 0

    def __add__(self, other: UpsertResult) -> UpsertResult:
        return UpsertResult(
            inserted=self.inserted + other.inserted,
            corrected=self.corrected + other.corrected,
            unchanged=self.unchanged + other.unchanged,
        )
