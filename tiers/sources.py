"""Where a book's ingest reads its bars: the market table itself, the bundled sample, or a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from tiers.errors import DataError
from tiers.ingest.sources import BarSource, FileSource, table_from_frame
from tiers.ingest.table import BarTable, split, table
from tiers.ingest.validate import stamp
from trading.models import Book, Instrument
from trading.selectors import market


@dataclass(frozen=True, slots=True)
class TableSource:
    """Bars that were imported before: the replay source."""

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> BarTable:
        """The stored bars of one symbol with closes in [start, end]."""
        found = split(market.bar_range([symbol], timeframe, start, end))
        return found[0] if found else table(symbol, timeframe, stamp(start)[None][:0], [[]] * 5)


@dataclass(frozen=True, slots=True)
class SampleSource:
    """The data sets that ship with Helios."""

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> BarTable:
        """The bundled bars of one symbol with closes in [start, end]."""
        whole = _sample(symbol, timeframe)
        return whole.take((whole.ts >= stamp(start)) & (whole.ts <= stamp(end)))


@lru_cache(maxsize=32)
def _sample(symbol: str, timeframe: str) -> BarTable:
    from trading import sample_data  # noqa: PLC0415 - polars is only loaded where files are read

    return table_from_frame(symbol, timeframe, sample_data.load(symbol, timeframe))


def source_of(book: Book) -> BarSource:
    """The source that the book names; `DataError` for an unknown one."""
    if book.source == "table":
        return TableSource()
    if book.source == "sample":
        return SampleSource()
    kind, _, rest = book.source.partition(":")
    if kind == "file" and rest and len(book.symbols) == 1:
        return FileSource(path=Path(rest), symbol=book.symbols[0], timeframe=book.timeframe)
    raise DataError(f"a book's source must be table, sample or file:PATH (one symbol), was {book.source!r}")


def calendars(symbols: list[str]) -> dict[str, str]:
    """The trading calendar of each symbol."""
    return dict(Instrument.objects.filter(symbol__in=symbols).values_list("symbol", "calendar"))
