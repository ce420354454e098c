"""Which venue a book trades at, and which venues have market data."""

from __future__ import annotations

from contextlib import AbstractContextManager

from helios.env import Env
from helios.errors import Rejected
from trading.models import Book
from trading.venues.base import MarketData, Venue
from trading.venues.paper.client import PaperVenue


def venue_for(book: Book) -> Venue:
    """The venue of a book; `Rejected` for a live book, since no live venue is configured."""
    if book.mode in {Book.Mode.PAPER, Book.Mode.REPLAY}:
        return PaperVenue()
    raise Rejected(f"book {book.name!r} is live, and this version has only the paper venue")


def market_data(exchange: str, env: Env) -> AbstractContextManager[MarketData]:
    """The market data of an exchange, such as valr; what speaks to it is loaded then. Raises: DataError, Rejected."""
    if exchange == "valr":
        from trading.venues.valr.market import Market as Valr  # noqa: PLC0415 - see above

        return Valr.of(env)
    if exchange == "alpaca":
        from trading.venues.alpaca.market import Market as Alpaca  # noqa: PLC0415

        return Alpaca.of(env)
    from trading.venues.ccxt.market import Market as AnyOther  # noqa: PLC0415

    return AnyOther.of(exchange)
