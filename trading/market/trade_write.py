"""Writes of public trades: by COPY, straight into the table where their time is still empty, and each trade once."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from helios.db.locks import hold
from helios.db.partitions import ensure_partitions
from trading.market.timestamps import microseconds

TradeRow = tuple[str, datetime, str, str, float, float]  # symbol, time in UTC, id, side, price, quantity

_COLUMNS: Final = "(symbol, ts, trade_id, side, price, quantity)"
_ANY_KEPT: Final = """
SELECT EXISTS (
    SELECT FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS span(symbol, first, last)
    CROSS JOIN LATERAL (
        SELECT FROM market_trades m WHERE m.symbol = span.symbol AND m.ts >= span.first AND m.ts <= span.last LIMIT 1
    ) AS kept
)
"""
_STAGE: Final = """
CREATE TEMPORARY TABLE IF NOT EXISTS market_trades_incoming (
    place bigint GENERATED ALWAYS AS IDENTITY,
    symbol text, ts timestamptz, trade_id text, side text, price numeric, quantity numeric
) ON COMMIT DELETE ROWS;
DELETE FROM market_trades_incoming;
"""
# A trade is known by its venue's id where it has one. One without gets an id of its moment and a number, and is known
# by its figures: so many alike as are stored are these. A stored one without an id may be told with one later.
_MERGE: Final = """
INSERT INTO market_trades (symbol, ts, trade_id, side, price, quantity)
SELECT symbol, ts, CASE trade_id WHEN '' THEN made || highest + of_moment ELSE trade_id END, side, price, quantity
FROM (
    SELECT t.*, made, alike, highest, row_number() OVER (PARTITION BY t.symbol, t.ts ORDER BY place) AS of_moment,
        row_number() OVER (PARTITION BY t.symbol, t.ts, trade_id = '', price, quantity, side ORDER BY place) AS nth
    FROM market_trades_incoming t
    CROSS JOIN LATERAL (SELECT (extract(epoch FROM t.ts) * 1000000)::bigint || '-') AS of_ts(made)
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE kept.trade_id = t.trade_id) AS same,
            count(*) FILTER (WHERE (kept.price, kept.quantity, kept.side) = (t.price, t.quantity, t.side)
                AND (t.trade_id = '' OR unnamed)) AS alike,
            coalesce(max(split_part(kept.trade_id, '-', 2)::int) FILTER (WHERE unnamed), -1) AS highest
        FROM (
            SELECT m.*, trade_id ~ ('^' || made || '[0-9]{1,9}$') AS unnamed
            FROM market_trades m WHERE m.symbol = t.symbol AND m.ts = t.ts
        ) AS kept
    ) AS stored
    WHERE same = 0
) AS fresh
WHERE nth > alike
ON CONFLICT DO NOTHING
"""


def store_trades(rows: Sequence[TradeRow]) -> int:
    """Store the trades that are not stored yet, in one transaction; returns their number.

    The id is empty where the venue tells none. Safe beside other writers: symbols are locked, in alphabetical order,
    until the transaction ends.
    """
    if not rows:
        return 0
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    for symbol, at, *_ in rows:
        times[symbol].append(at)
    symbols = sorted(times)
    firsts, lasts = ([of(times[symbol]) for symbol in symbols] for of in (min, max))
    with transaction.atomic(), connection.cursor() as cursor, connection.wrap_database_errors:
        ensure_partitions("market_trades", "month", min(firsts), max(lasts))
        hold(*(f"market_trades {symbol}" for symbol in symbols))
        cursor.execute(_ANY_KEPT, [symbols, firsts, lasts])
        named = _named(rows)
        if cursor.fetchone() == (False,) and len({row[:3] for row in named}) == len(rows):
            _copy(cursor, "market_trades", named)
            return len(rows)
        cursor.execute(_STAGE)
        _copy(cursor, "market_trades_incoming", rows)
        cursor.execute(_MERGE)
        return int(cursor.rowcount)


def _named(rows: Sequence[TradeRow]) -> list[TradeRow]:
    """The rows with ids made for those that have none, of which nothing is stored yet: their moment and a number."""
    of_moment = Counter[tuple[str, datetime]]()
    found = []
    for symbol, at, trade_id, side, price, quantity in rows:
        name = trade_id
        if not name:
            name = f"{microseconds(at)}-{of_moment[symbol, at]}"
            of_moment[symbol, at] += 1
        found.append((symbol, at, name, side, price, quantity))
    return found


def _copy(cursor: CursorWrapper, table: str, rows: Sequence[TradeRow]) -> None:
    lines = (f"{symbol}\t{at.isoformat()}\t{name}\t{side}\t{p!r}\t{q!r}\n" for symbol, at, name, side, p, q in rows)
    cursor.copy_expert(f"COPY {table} {_COLUMNS} FROM STDIN", io.StringIO("".join(lines)))
