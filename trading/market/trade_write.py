"""Writes of public trades: by COPY, each trade once, whichever way it came."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import connection, transaction

from helios.db.locks import hold
from helios.db.partitions import ensure_partitions

TradeRow = tuple[str, datetime, str, str, float, float]  # symbol, time in UTC, id, side, price, quantity

_COPY: Final = "COPY market_trades_incoming (symbol, ts, trade_id, side, price, quantity) FROM STDIN"
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
    times = [row[1] for row in rows]
    with transaction.atomic(), connection.cursor() as cursor, connection.wrap_database_errors:
        ensure_partitions("market_trades", "month", min(times), max(times))
        hold(*(f"market_trades {symbol}" for symbol in sorted({row[0] for row in rows})))
        cursor.execute(_STAGE)
        cursor.copy_expert(_COPY, io.StringIO("".join(map(_line, rows))))
        cursor.execute(_MERGE)
        return int(cursor.rowcount)


def _line(row: TradeRow) -> str:
    symbol, at, trade_id, side, price, quantity = row
    return f"{symbol}\t{at.isoformat()}\t{trade_id}\t{side}\t{price!r}\t{quantity!r}\n"
