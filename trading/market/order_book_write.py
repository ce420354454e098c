"""Writes of order books: by COPY, and one of each moment."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import orjson
from django.db import connection, transaction

from helios.db.locks import hold
from helios.db.partitions import ensure_partitions
from trading.market.order_book import Level
from trading.market.timestamps import microseconds, moment
from trading.models import OrderBookSnapshot

BookRow = tuple[str, int, int, Sequence[Level], Sequence[Level]]  # symbol, microseconds, sequence, bids, asks

_COPY: Final = "COPY orderbook_snapshots (symbol, ts, sequence, bids, asks) FROM STDIN"


def store_books(rows: Sequence[BookRow]) -> int:
    """Store the books of whose moment none is stored yet, in one transaction; returns their number.

    Of several of one moment the first counts. Safe beside other writers, as `trade_write.store_trades`.
    """
    books = {row[:2]: row for row in reversed(rows)}
    if not books:
        return 0
    symbols, times = sorted({symbol for symbol, _ in books}), [moment(at) for _, at in books]
    first, last = min(times), max(times)
    with transaction.atomic(), connection.cursor() as cursor, connection.wrap_database_errors:
        ensure_partitions("orderbook_snapshots", "month", first, last)
        hold(*(f"orderbook_snapshots {symbol}" for symbol in symbols))
        kept = OrderBookSnapshot.objects.filter(symbol__in=symbols, ts__gte=first, ts__lte=last)
        for symbol, at in kept.values_list("symbol", "ts"):
            books.pop((symbol, microseconds(at)), None)
        cursor.copy_expert(_COPY, io.StringIO("".join(map(_line, books.values()))))
    return len(books)


def _line(row: BookRow) -> str:
    symbol, at, sequence, *sides = row
    bids, asks = (orjson.dumps(side).decode().replace("\\", "\\\\") for side in sides)
    return f"{symbol}\t{moment(at).isoformat()}\t{sequence}\t{bids}\t{asks}\n"
