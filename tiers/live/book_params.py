"""The parameters of a book: its own ones over the usual ones of its timeframe, markets and costs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import Min

from tiers.contracts.parameters import PipelineParams
from trading.market.calendars import LONGEST_CLOSURE
from trading.market.instruments import around_the_clock, market_closes, named
from trading.market.read import with_bars
from trading.models import Book, Instrument


def params_of(book: Book, known: Sequence[Instrument] | None = None) -> PipelineParams:
    """`PipelineParams.of` with the timeframe, the calendars and the costs of the book, and what it sets itself.

    A market counts whose symbols had not all ended when the book began. `known`: the instruments, where the caller
    has read them.
    """
    of = named(book.symbols) if known is None else known
    symbols = book.symbols
    if market_closes(symbols, of) and around_the_clock(symbols, of):
        symbols = not_ended(book)
    return PipelineParams.of(
        book.timeframe,
        closes=market_closes(symbols, of),
        around_the_clock=around_the_clock(symbols, of),
        cost_bps=float(book.fee_bps + book.slippage_bps),
        own=book.params,
    )


def began(book: Book) -> datetime | None:
    """The bar of its first cycle; None before that."""
    if book._state.adding:  # noqa: SLF001 - Django says so of what is drafted
        return None
    first: datetime | None = book.cycles.aggregate(first=Min("bar_ts"))["first"]
    return first


def not_ended(book: Book) -> list[str]:
    """The symbols of the book that had not ended when it began, of those that have begun; in a replay as it ends."""
    first = began(book)
    if first is None:
        return book.symbols
    return with_bars(book.symbols, book.timeframe, first - LONGEST_CLOSURE, book.replay_until)
