"""What is wanted of a venue: the pairs that a person names, or that active books trade there, and of which time."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from loguru import logger

from helios.errors import DataError, Transient
from trading import symbols
from trading.enums import FeedKind
from trading.market.days import parse_range
from trading.models import Book
from trading.venues.base import MarketData, Pair

MOST_DAYS: Final = 20_000


def add_options(parser: ArgumentParser, *, days: str, **pairs: Any) -> None:
    """The options that say what is wanted, `days` what `--days` means; `pairs` as `add_argument` takes them."""
    parser.add_argument("--exchange", default="valr", help="valr, alpaca or any of ccxt, as binance; default: valr")
    parser.add_argument("-p", "--pairs", nargs="+", metavar="PAIR", **pairs)
    span = parser.add_mutually_exclusive_group()
    span.add_argument("--timerange", help="20260101-20260131, either side may be left out")
    span.add_argument("--days", type=int, help=days)


def time_of(options: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """The first and the last close that is wanted; either may be left out. Raises: DataError."""
    days = options["days"]
    if days is None:
        return parse_range(options["timerange"])
    if not 1 <= days <= MOST_DAYS:
        raise DataError(f"--days must be 1 to {MOST_DAYS}, was {days}")
    return timezone.now() - timedelta(days=days), None


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

    Raises: DataError, `Transient` where none is left, and as the venue's requests.
    """
    offered = venue.pairs(wanted)
    unknown = [name for name in wanted if name not in offered]
    if unknown and strict:
        some = ", ".join(sorted(offered)[:3])
        raise DataError(f"--pairs must be pairs of {venue.name}, such as {some}; {unknown[0]} is none")
    if unknown:
        logger.bind(venue=venue.name, symbols=unknown).warning("feed.unknown_pairs")
    if len(unknown) == len(wanted):
        raise Transient(f"{venue.name} has none of {', '.join(wanted)}")
    return [offered[name] for name in wanted if name in offered]
