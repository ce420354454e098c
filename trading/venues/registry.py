"""Which venue a book trades at."""

from __future__ import annotations

from helios.errors import Rejected
from trading.models import Book
from trading.venues.base import Venue
from trading.venues.paper.client import PaperVenue


def venue_for(book: Book) -> Venue:
    """The venue of a book; `Rejected` for a live book, since no live venue is configured."""
    if book.mode in {Book.Mode.PAPER, Book.Mode.REPLAY}:
        return PaperVenue()
    raise Rejected(f"book {book.name!r} is live, and this version has only the paper venue")
