"""Which bars there are, as times only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import connection


def bar_times(symbols: Sequence[str], timeframe: str, first: datetime | None = None) -> list[datetime]:
    """Closes at which any of the symbols has a bar, from `first` on, ascending."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT bar_ts FROM market_ohlc WHERE symbol = ANY(%s) AND timeframe = %s "
            "AND bar_ts >= coalesce(%s, '-infinity'::timestamptz) ORDER BY bar_ts",
            [list(symbols), timeframe, first],
        )
        return [row[0] for row in cursor.fetchall()]


def latest_bar_ts(symbols: Sequence[str], timeframe: str) -> datetime | None:
    """The newest close at which any of the symbols has a bar, or None."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(m.bar_ts) FROM unnest(%s::text[]) AS s(symbol) CROSS JOIN LATERAL (SELECT bar_ts "
            "FROM market_ohlc o WHERE o.symbol = s.symbol AND o.timeframe = %s ORDER BY bar_ts DESC LIMIT 1) m",
            [list(symbols), timeframe],
        )
        row = cursor.fetchone()
        return row[0] if row else None
