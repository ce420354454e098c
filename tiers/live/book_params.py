"""The parameters of a book: its own ones over the usual ones of its timeframe and its markets."""

from __future__ import annotations

from tiers.contracts.parameters import PipelineParams
from trading.market.instruments import market_closes
from trading.models import Book


def params_of(book: Book) -> PipelineParams:
    """`PipelineParams.of` with the book's timeframe, the calendars of its instruments, and what it sets itself."""
    return PipelineParams.of(book.timeframe, closes=market_closes(book.symbols), own=book.params)
