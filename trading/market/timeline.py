"""Which bars there are, as times only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from helios.db import statements
from trading.market.coverage import MOST_AHEAD


def bar_times(symbols: Sequence[str], timeframe: str, first: datetime | None = None) -> list[datetime]:
    """Closes at which any of the symbols has a bar, from `first` on, ascending."""
    rows = statements.fetch(
        "SELECT DISTINCT bar_ts FROM market_ohlc WHERE symbol = ANY(%s) AND timeframe = %s "
        "AND bar_ts >= coalesce(%s, '-infinity'::timestamptz) ORDER BY bar_ts",
        [list(symbols), timeframe, first],
    )
    return [bar_ts for (bar_ts,) in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The newest close of any of some symbols, the symbols that have no bar there, and since when the first one has."""

    bar_ts: datetime
    absent: tuple[str, ...]
    since_s: float


def newest_bar(symbols: Sequence[str], timeframe: str) -> Newest | None:
    """The newest bar of any of the symbols that is not still to come, None where there is none.

    A corrected one is there since its close. One that is to come was made by a clock that was ahead.
    """
    rows = statements.fetch(
        "SELECT s.symbol, m.bar_ts, extract(epoch FROM clock_timestamp() - m.seen)::float8 "
        "FROM unnest(%s::text[]) AS s(symbol) LEFT JOIN LATERAL ("
        "  SELECT bar_ts, CASE WHEN revision = 0 THEN ingested_at ELSE bar_ts END AS seen FROM market_ohlc o "
        "  WHERE o.symbol = s.symbol AND o.timeframe = %s AND o.bar_ts <= %s ORDER BY bar_ts DESC LIMIT 1) m ON true",
        [list(symbols), timeframe, timezone.now() + MOST_AHEAD],
    )
    bar_ts = max((ts for _, ts, _ in rows if ts is not None), default=None)
    if bar_ts is None:
        return None
    return Newest(
        bar_ts=bar_ts,
        absent=tuple(symbol for symbol, ts, _ in rows if ts != bar_ts),
        since_s=max(since_s for _, ts, since_s in rows if ts == bar_ts),
    )
