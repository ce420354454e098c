"""Which venue a book trades at, and which venues have market data."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from typing import Final

from helios.entries import quoted
from helios.env import Env
from helios.errors import DataError, Rejected
from trading.models import Book
from trading.venues.base import MarketData, Venue
from trading.venues.paper.client import PaperVenue

EXCHANGES: Final = ("valr", "alpaca")


def venue_for(book: Book) -> Venue:
    """The venue of a book; `Rejected` for a live book, since no live venue is configured."""
    if book.mode in {Book.Mode.PAPER, Book.Mode.REPLAY}:
        return PaperVenue()
    raise Rejected(f"book {book.name!r} is live, and this version has only the paper venue")


def market_data(exchange: str, env: Env) -> AbstractContextManager[MarketData]:
    """The market data of an exchange, such as valr; what speaks to it is loaded then. Raises: DataError, Rejected."""
    if exchange not in EXCHANGES:
        raise DataError(f"--exchange must be {' or '.join(EXCHANGES)}, was {quoted(exchange)}")
    market = importlib.import_module(f"trading.venues.{exchange}.market").Market
    found: AbstractContextManager[MarketData] = market.of(env)
    return found
