"""Which venue a book trades at, and which venues have market data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

from helios.env import Env
from helios.errors import Rejected
from trading.enums import AssetClass
from trading.models import Book
from trading.venues.base import MarketData, Pair, Venue
from trading.venues.paper.client import PaperVenue
from trading.venues.streaming import Stream

STREAMED: Final = ("valr", "alpaca")  # the exchanges that have a line here


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


def streams(
    exchange: str, env: Env, pairs: Sequence[Pair], by_change: frozenset[str]
) -> list[tuple[Stream | None, Sequence[Pair]]]:
    """The lines on which an exchange tells of its pairs, each with those of them that it tells of.

    Without a line is what can be had by request only. The order books of the instruments `by_change` come change by
    change, where the exchange has both.
    """
    if exchange == "valr":
        from trading.venues.valr.client import Key as ValrKey  # noqa: PLC0415 - as above
        from trading.venues.valr.stream import Stream as Valr  # noqa: PLC0415

        codes = frozenset(pair.code for pair in pairs if pair.symbol in by_change)
        return [(Valr(env.valr_url, ValrKey.of(env), codes), pairs)]
    if exchange not in STREAMED:
        return [(None, pairs)]
    from trading.venues.alpaca.client import Key as AlpacaKey  # noqa: PLC0415
    from trading.venues.alpaca.stream import Stream as Alpaca  # noqa: PLC0415

    key, url = AlpacaKey.of(env), env.alpaca_stream_url
    stocks = [pair for pair in pairs if pair.asset_class is AssetClass.EQUITY]
    coins = [pair for pair in pairs if pair.asset_class is not AssetClass.EQUITY]
    lines = [
        (Alpaca(url, f"/v2/{env.alpaca_feed}", key), stocks),
        (Alpaca(url, "/v1beta3/crypto/us", key, of_trades=True), coins),
    ]
    return [(line, of_it) for line, of_it in lines if of_it]
