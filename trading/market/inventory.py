"""Which series are stored; needs no array library, so that asking is quick."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Min

from trading.market import timeframes
from trading.models import MarketTrade, OrderBookSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One series in `market_ohlc`; `first` and `last` are UTC closes."""

    symbol: str
    timeframe: str
    rows: int
    first: datetime
    last: datetime
    sources: tuple[str, ...]
    corrected: int
    actions: int  # splits and dividends of the symbol
    gaps: int  # times of which its venue does not have the bars


def inventory() -> tuple[Stored, ...]:
    """Every stored series, by symbol and then by length of bar."""
    statement = """
        SELECT symbol, timeframe, sum(n)::int8, min(first), max(last), array_agg(source ORDER BY source),
               sum(corrected)::int8, (SELECT count(*) FROM corporate_actions a WHERE a.symbol = by_source.symbol),
               (SELECT count(*) FROM market_gaps g
                WHERE g.symbol = by_source.symbol AND g.timeframe = by_source.timeframe)
        FROM (
            SELECT symbol, timeframe, source, count(*) AS n, min(bar_ts) AS first, max(bar_ts) AS last,
                   count(*) FILTER (WHERE revision > 0) AS corrected
            FROM market_ohlc WHERE timeframe = ANY(%s) GROUP BY symbol, timeframe, source
        ) AS by_source GROUP BY symbol, timeframe
    """
    names = ("symbol", "timeframe", "rows", "first", "last", "sources", "corrected", "actions", "gaps")
    with connection.cursor() as cursor:
        cursor.execute(statement, [[*timeframes.TIMEFRAMES]])
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    stored = [Stored(**{**row, "sources": tuple(row["sources"])}) for row in rows]
    return tuple(sorted(stored, key=lambda one: (one.symbol, timeframes.seconds(one.timeframe))))


def counted(of: type[MarketTrade | OrderBookSnapshot]) -> list[dict[str, Any]]:
    """How many rows there are of each symbol, `rows`, and from when to when, `first` and `last` in UTC as text."""
    found = of.objects.values("symbol").annotate(rows=Count("ts"), first=Min("ts"), last=Max("ts")).order_by("symbol")
    return [{**row, "first": row["first"].isoformat(), "last": row["last"].isoformat()} for row in found]


def known_symbols(timeframe: str) -> tuple[str, ...]:
    """The symbols that have bars of a timeframe, in alphabetical order.

    Steps from one index entry to the next symbol: the time depends on the number of symbols, not of bars.
    """
    statement = """
        WITH RECURSIVE step(symbol) AS (
            (SELECT symbol FROM market_ohlc ORDER BY symbol LIMIT 1)
            UNION ALL
            SELECT (SELECT symbol FROM market_ohlc WHERE symbol > step.symbol ORDER BY symbol LIMIT 1)
            FROM step WHERE step.symbol IS NOT NULL
        )
        SELECT symbol FROM step WHERE symbol IS NOT NULL AND EXISTS (
            SELECT FROM market_ohlc b WHERE b.symbol = step.symbol AND b.timeframe = %s
        )
    """
    with connection.cursor() as cursor:
        cursor.execute(statement, [timeframe])
        return tuple(sorted(symbol for (symbol,) in cursor.fetchall()))
