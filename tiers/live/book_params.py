"""The parameters of a book: its own ones over the usual ones of its timeframe, markets and costs."""

from __future__ import annotations

from collections.abc import Sequence

from tiers.contracts.parameters import PipelineParams
from trading.market.instruments import around_the_clock, market_closes, named
from trading.models import Book, Instrument


def params_of(book: Book, known: Sequence[Instrument] | None = None) -> PipelineParams:
    """`PipelineParams.of` with the timeframe, the calendars and the costs of the book, and what it sets itself.

    `known`: the instruments, where the caller has read them.
    """
    of = named(book.symbols) if known is None else known
    return PipelineParams.of(
        book.timeframe,
        closes=market_closes(book.symbols, of),
        around_the_clock=around_the_clock(book.symbols, of),
        cost_bps=float(book.fee_bps + book.slippage_bps),
        own=book.params,
    )
