"""Where a book's bars come from: what is stored, the bundled data, or a file."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from helios.errors import DataError
from trading.enums import FeedKind
from trading.market import instruments, kept_windows, timeframes
from trading.market.bars import FIELDS, BarTable, split
from trading.market.calendars import ALWAYS_OPEN
from trading.market.timestamps import stamp, utc
from trading.models import Book

SAME = 1e-9  # relative, of the same figure added up in another order


def rows(book: Book, start: datetime, end: datetime) -> list[BarTable]:
    """The bars of each of the book's symbols with closes in [start, end]; a symbol may have none."""
    if book.feed.kind is FeedKind.TABLE:
        return _stored(book, start, end)
    return [_between(_whole(book, symbol), start, end) for symbol in book.symbols]


def check(book: Book) -> None:
    """`DataError` when the book's feed is a file that does not exist, or that it shares with several symbols."""
    if book.feed.kind is not FeedKind.FILE:
        return
    if len(book.symbols) != 1:
        raise DataError(f"a book whose source is a file must have one symbol, had {', '.join(book.symbols)}")
    if not Path(book.feed.path).is_file():
        raise DataError(f"a book's source must be a file that exists, was '{book.feed}'")


def refuse_others(book: Book, start: datetime, end: datetime) -> None:
    """`DataError` where the book's feed tells other bars of [start, end] than are stored, which it would write over."""
    if book.feed.kind is FeedKind.TABLE:
        return
    for told, kept in zip(rows(book, start, end), _stored(book, start, end), strict=True):
        _, of_told, of_kept = np.intersect1d(told.ts, kept.ts, return_indices=True)
        for name in FIELDS:
            new, old = getattr(told, name)[of_told], getattr(kept, name)[of_kept]
            other = np.flatnonzero(~np.isclose(new, old, rtol=SAME, atol=0.0, equal_nan=True))
            if len(other):
                k = other[0]
                raise DataError(
                    f"source {book.feed} must have the bars of {told.symbol} that are stored, has {name} {new[k]:g} of "
                    f"{utc(told.ts[of_told][k]):%Y-%m-%d %H:%M} where {old[k]:g} is stored; what is right is for "
                    "import_data to store"
                )


def _stored(book: Book, start: datetime, end: datetime) -> list[BarTable]:
    """Bars that were imported before, of all symbols in one query."""
    n_bars = int((end - start).total_seconds()) // timeframes.seconds(book.timeframe) + 2
    window = kept_windows.bar_window(book.symbols, book.timeframe, end, n_bars, at_least_one=False)
    return [_between(each, start, end) for each in split(window)]


def _whole(book: Book, symbol: str) -> BarTable:
    """All bars of a symbol that the book's sample or file has."""
    if book.feed.kind is FeedKind.SAMPLE:
        return _bundled(symbol, book.timeframe)
    from trading.market.feeds.files import FileSource  # noqa: PLC0415 - polars loads where files are read

    hours = instruments.calendars(instruments.named([symbol])).get(symbol, ALWAYS_OPEN)
    return FileSource(path=Path(book.feed.path), symbol=symbol, timeframe=book.timeframe, calendar=hours).read()


@lru_cache(maxsize=32)
def _bundled(symbol: str, timeframe: str) -> BarTable:
    from trading import sample_data  # noqa: PLC0415 - as above
    from trading.market.feeds.files import table_from_frame  # noqa: PLC0415

    return table_from_frame(symbol, timeframe, sample_data.load(symbol, timeframe))


def _between(table: BarTable, start: datetime, end: datetime) -> BarTable:
    return table.take(np.asarray((table.ts >= stamp(start)) & (table.ts <= stamp(end))))
