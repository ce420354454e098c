"""Where a book's bars come from: what is stored, the bundled data, or a file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np

from helios.errors import DataError
from trading.market import read, timeframes
from trading.market.bars import BarTable, split
from trading.market.feeds.base import BarSource
from trading.market.feeds.sample import SampleSource
from trading.market.timestamps import stamp
from trading.models import Book


def rows(book: Book, start: datetime, end: datetime) -> list[BarTable]:
    """The bars of each of the book's symbols with closes in [start, end]; a symbol may have none.

    `DataError` when the book names an unknown source.
    """
    if book.source == "table":
        return _stored(book, start, end)
    source = _source(book)
    return [source.bars(symbol, book.timeframe, start, end) for symbol in book.symbols]


def check(book: Book) -> None:
    """`DataError` when the book names a source that does not exist."""
    source = None if book.source == "table" else _source(book)
    path = getattr(source, "path", None)
    if path is not None and not path.is_file():
        raise DataError(f"a book's source must be a file that exists, was {book.source!r}")


def _stored(book: Book, start: datetime, end: datetime) -> list[BarTable]:
    """Bars that were imported before, of all symbols in one query."""
    n_bars = int((end - start).total_seconds()) // timeframes.seconds(book.timeframe) + 2
    window = read.bar_window(book.symbols, book.timeframe, end, n_bars, at_least_one=False)
    return [each.take(np.asarray(each.ts >= stamp(start))) for each in split(window)]


def _source(book: Book) -> BarSource:
    if book.source == "sample":
        return SampleSource()
    kind, _, rest = book.source.partition(":")
    if kind == "file" and rest and len(book.symbols) == 1:
        from trading.market.feeds.files import FileSource  # noqa: PLC0415 - polars is only loaded where files are read

        return FileSource(path=Path(rest), symbol=book.symbols[0], timeframe=book.timeframe)
    raise DataError(f"a book's source must be table, sample or file:PATH (one symbol), was {book.source!r}")
