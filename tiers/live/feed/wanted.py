"""Which pairs of the venue are wanted: those that a person names, or that active books trade there."""

from __future__ import annotations

from collections.abc import Sequence

from helios.errors import DataError
from trading import symbols
from trading.enums import FeedKind
from trading.models import Book
from trading.venues.base import MarketData, Pair


def names(venue: MarketData, given: Sequence[str]) -> list[str]:
    """The instruments that a person means, each once, such as VALR:BTC-ZAR. Raises: DataError."""
    split = [symbols.split(symbols.parse(name)) for name in given]
    found = [venue.symbol(bare) if at in {"", venue.name} else f"{at}:{bare}" for at, bare in split]
    return list(dict.fromkeys(found))


def by_books(name: str) -> list[str]:
    """The instruments at the venue that active books trade by stored bars."""
    books = Book.objects.filter(active=True).exclude(mode=Book.Mode.REPLAY)
    found = {symbol for book in books if book.feed.kind is FeedKind.TABLE for symbol in book.symbols}
    return sorted(symbol for symbol in found if symbols.split(symbol)[0] == name)


def pairs(venue: MarketData, wanted: Sequence[str], *, strict: bool) -> list[Pair]:
    """The venue's pairs of these instruments; those that it does not have are left out, or, if `strict`, refused.

    Raises: DataError, and as the venue's requests.
    """
    offered = venue.pairs(wanted)
    unknown = [name for name in wanted if name not in offered]
    if unknown and strict:
        some = ", ".join(sorted(offered)[:3])
        raise DataError(f"--pairs must be pairs of {venue.name}, such as {some}; {unknown[0]} is none")
    return [offered[name] for name in wanted if name in offered]
