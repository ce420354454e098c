"""Writes of public trades: by COPY, and each trade once."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from helios.db.locks import hold
from helios.db.partitions import ensure_partitions
from trading.market.timestamps import microseconds

TradeRow = tuple[str, datetime, str, str, float, float]  # symbol, time in UTC, id, side, price, quantity

_KEPT: Final = """
SELECT kept.symbol, kept.ts, kept.trade_id, kept.side, kept.price::float8, kept.quantity::float8
FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS span(symbol, first, last)
CROSS JOIN LATERAL (
    SELECT * FROM market_trades m WHERE m.symbol = span.symbol AND m.ts >= span.first AND m.ts <= span.last OFFSET 0
) AS kept
"""
_COPY: Final = "COPY market_trades (symbol, ts, trade_id, side, price, quantity) FROM STDIN"


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
        cursor.execute(_KEPT, [symbols, firsts, lasts])
        fresh = _fresh(rows, cursor)
        lines = ("{}\t{}\t{}\t{}\t{!r}\t{!r}\n".format(*row) for row in fresh)
        cursor.copy_expert(_COPY, io.StringIO("".join(lines)))
    return len(fresh)


def _fresh(rows: Sequence[TradeRow], kept: Iterable[TradeRow]) -> list[TradeRow]:
    """The rows that are not kept, each with an id.

    A trade is known by its venue's id where it has one. One without gets an id of its moment and a number, and is known
    by its figures: so many alike as are kept are these. A kept one without an id may be told with one later.
    """
    known, found = set[tuple[str, datetime, str]](), list[TradeRow]()
    nameless = {row[:2] for row in rows if not row[2]}
    alike, unnamed, n_made = Counter[Any](), Counter[Any](), Counter[tuple[str, datetime]]()
    for symbol, at, name, *figures in kept:
        known.add((symbol, at, name))
        if (symbol, at) in nameless:
            alike[symbol, at, *figures] += 1
        of_moment, _, number = name.rpartition("-")
        if of_moment == f"{microseconds(at)}" and number.isdecimal():
            unnamed[symbol, at, *figures] += 1
            n_made[symbol, at] = max(n_made[symbol, at], int(number) + 1)
    for symbol, at, name, side, price, quantity in rows:
        if name and (symbol, at, name) in known:
            continue
        known.add((symbol, at, name))
        left, one = unnamed if name else alike, (symbol, at, side, price, quantity)
        if left[one]:
            left[one] -= 1
            continue
        made = name
        if not name:
            made = f"{microseconds(at)}-{n_made[symbol, at]}"
            n_made[symbol, at] += 1
        found.append((symbol, at, made, side, price, quantity))
    return found
