"""Where a book's ingest reads its bars: the market table itself, the bundled sample, or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from tiers.contracts.errors import DataError
from tiers.contracts.timeframes import seconds
from tiers.ingest.calendars import CALENDARS, calendar
from tiers.ingest.sources import BarSource, FileSource, table_from_frame
from tiers.ingest.table import BarTable, split
from tiers.ingest.validate import stamp
from trading.market import read as market
from trading.models import Book, Instrument


@dataclass(frozen=True, slots=True)
class SampleSource:
    """The data sets that ship with Helios."""

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> BarTable:
        """The bundled bars of one symbol with closes in [start, end]."""
        whole = _sample(symbol, timeframe)
        return whole.take(np.asarray((whole.ts >= stamp(start)) & (whole.ts <= stamp(end))))


@lru_cache(maxsize=32)
def _sample(symbol: str, timeframe: str) -> BarTable:
    from trading import sample_data  # noqa: PLC0415 - polars is only loaded where files are read

    return table_from_frame(symbol, timeframe, sample_data.load(symbol, timeframe))


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
    if isinstance(source, FileSource) and not source.path.is_file():
        raise DataError(f"a book's source must be a file that exists, was {book.source!r}")


def _stored(book: Book, start: datetime, end: datetime) -> list[BarTable]:
    """Bars that were imported before, of all symbols in one query."""
    n_bars = int((end - start).total_seconds()) // seconds(book.timeframe) + 2
    window = market.bar_window(book.symbols, book.timeframe, end, n_bars, at_least_one=False)
    return [each.take(np.asarray(each.ts >= stamp(start))) for each in split(window)]


def _source(book: Book) -> BarSource:
    if book.source == "sample":
        return SampleSource()
    kind, _, rest = book.source.partition(":")
    if kind == "file" and rest and len(book.symbols) == 1:
        return FileSource(path=Path(rest), symbol=book.symbols[0], timeframe=book.timeframe)
    raise DataError(f"a book's source must be table, sample or file:PATH (one symbol), was {book.source!r}")


def expected(absent: Sequence[str], named: Mapping[str, str], timeframe: str, bar_ts: datetime) -> list[str]:
    """Those of the absent symbols whose market closes a bar then, by its named calendar; an unknown one always does."""
    return [s for s in absent if named.get(s) not in CALENDARS or calendar(named[s]).closes_at(timeframe, bar_ts)]


def calendars(symbols: Sequence[str]) -> dict[str, str]:
    """The trading calendar of each symbol."""
    return dict(Instrument.objects.filter(symbol__in=symbols).values_list("symbol", "calendar"))
