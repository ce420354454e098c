"""Writes of public trades: by COPY, and each trade once."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from django.db import connection, transaction

from helios.db.locks import hold
from helios.db.partitions import ensure_partitions
from trading.market.timestamps import moment

TradeRow = tuple[str, int, str, str, float, float]  # symbol, microseconds since 1970, id, side, price, quantity

_KEPT: Final = """
SELECT kept.symbol, (extract(epoch FROM kept.ts) * 1000000)::int8, kept.trade_id, kept.side, kept.price::float8,
    kept.quantity::float8
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
    times: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        times[row[0]].append(row[1])
    symbols = sorted(times)
    firsts, lasts = ([moment(of(times[symbol])) for symbol in symbols] for of in (min, max))
    with transaction.atomic(), connection.cursor() as cursor, connection.wrap_database_errors:
        ensure_partitions("market_trades", "month", min(firsts), max(lasts))
        hold(*(f"market_trades {symbol}" for symbol in symbols))
        cursor.execute(_KEPT, [symbols, firsts, lasts])
        kept = cursor.fetchall()
        fresh = _fresh(rows, kept) if kept or any(row[2] for row in rows) else _numbered(rows)
        at = np.datetime_as_string(np.array([row[1] for row in fresh], "datetime64[us]"), timezone="UTC").tolist()
        lines = [f"{s}\t{ts}\t{i}\t{side}\t{p!r}\t{q!r}\n" for ts, (s, _, i, side, p, q) in zip(at, fresh, strict=True)]
        cursor.copy_expert(_COPY, io.StringIO("".join(lines)))
    return len(fresh)


def _fresh(rows: Sequence[TradeRow], kept: Sequence[TradeRow]) -> list[TradeRow]:
    """The rows that are not kept, each with an id.

    A trade is known by its venue's id where it has one. One without gets an id of its moment and a number, and is known
    by its figures: so many alike as are kept are these. A kept one without an id may be told with one later.
    """
    known, found = set[tuple[str, int, str]](), list[TradeRow]()
    nameless, named = {row[:2] for row in rows if kept and not row[2]}, {row[:3] for row in rows if row[2]}
    alike, unnamed, n_made = Counter[Any](), Counter[Any](), Counter[tuple[str, int]]()
    for symbol, at, name, *figures in kept:
        known.add((symbol, at, name))
        if (symbol, at) in nameless:
            alike[symbol, at, *figures] += 1
        of_moment, _, counted = name.rpartition("-")
        if of_moment == f"{at}" and counted.isdecimal():
            unnamed[symbol, at, *figures] += 1
            n_made[symbol, at] = max(n_made[symbol, at], int(counted) + 1)
    for row in rows:
        symbol, at, name, side, price, quantity = row
        if name:
            if (symbol, at, name) in known:
                continue
            known.add((symbol, at, name))
        left = unnamed if name else alike
        if left and left[one := (symbol, at, side, price, quantity)]:
            left[one] -= 1
            continue
        if name:
            found.append(row)
            continue
        number = n_made.get((symbol, at), 0)
        while named and (symbol, at, f"{at}-{number}") in named:  # a venue may name its own so
            number += 1
        n_made[symbol, at] = number + 1
        found.append((symbol, at, f"{at}-{number}", side, price, quantity))
    return found


def _numbered(rows: Sequence[TradeRow]) -> list[TradeRow]:
    """As `_fresh` where no row has an id and none is kept, in two thirds of the time."""
    n_made, found = dict[tuple[str, int], int](), list[TradeRow]()
    for symbol, at, _, side, price, quantity in rows:
        number = n_made.get(key := (symbol, at), 0)
        n_made[key] = number + 1
        found.append((symbol, at, f"{at}-{number}", side, price, quantity))
    return found
