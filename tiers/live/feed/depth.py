"""The order books of a session: kept in step with the venue, asked for where they are not, noted by the minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from loguru import logger

from helios.logs import now_and_then
from tiers.ingest.minutes import CORRECTED
from trading.market.order_book import Checksum, Level, OrderBook, OutOfStep
from trading.market.timestamps import MINUTE, SECOND
from trading.venues.streaming import Depth

LEVELS: Final = 20  # a side of a book that is noted
PATIENCE: Final = 10 * SECOND  # before a book that did not come is asked for once more


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSnapshot:
    """The best levels of an order book at the end of a minute."""

    symbol: str
    ts: int  # microseconds since 1970
    sequence: int
    bids: list[Level]
    asks: list[Level]


@dataclass(slots=True)
class _TrackedBook:
    """A book, the minute up to whose end it was noted, when it was asked for, and how often it was lost."""

    book: OrderBook
    noted: int = 0
    asked_at: int = 0
    lost: int = 0


@dataclass(slots=True)
class OrderBooks:
    """The order books of some pairs by the venue's codes."""

    symbols: dict[str, str]
    checksum: Checksum | None = None
    _books: dict[str, _TrackedBook] = field(init=False)

    def __post_init__(self) -> None:
        made = {code: OrderBook(symbol=symbol, checksum=self.checksum) for code, symbol in self.symbols.items()}
        self._books = {code: _TrackedBook(book) for code, book in made.items()}

    def subscribed(self, now: int) -> None:
        """Every book is about to be told."""
        for each in self._books.values():
            each.book.lose()
            each.asked_at = now

    def apply(self, message: Depth, now: int) -> BookSnapshot | None:
        """Take in a message; the book as it was when the last minute ended, where this message is the first since.

        What is noted is known to be whole by this: the message goes on where it ended. A false one loses the book.
        """
        each = self._books[message.code]
        noted = _note(each, min(message.at, now + SECOND), now)
        try:
            each.book.not_after(message.at, now + SECOND)
            if message.whole:
                each.book.whole(message.at, message.sequence, message.bids, message.asks, message.checksum)
            else:
                each.book.change(
                    message.at, message.first, message.sequence, message.bids, message.asks, message.checksum
                )
        except OutOfStep as error:
            each.lost += 1
            if now_and_then(each.lost):
                logger.bind(problem=str(error), n=each.lost).warning("feed.book_lost")
        return None if each.book.sequence is None else noted

    def answered(self, told: Depth, now: int) -> BookSnapshot | None:
        """The whole book as it was told on request just now; None where it is false, or nobody offers anything."""
        each = self._books[told.code]
        each.book.lose()  # another one may stand before it than the stream had
        self.apply(told, now)
        bids, asks = each.book.best(LEVELS)
        if not (bids or asks):
            return None
        return BookSnapshot(symbol=each.book.symbol, ts=now, sequence=told.sequence, bids=bids, asks=asks)

    def to_ask(self, now: int) -> Sequence[str]:
        """The codes of the books that shall be told once more; each is asked for now and then."""
        codes = [
            code for code, each in self._books.items() if each.book.sequence is None and now - each.asked_at >= PATIENCE
        ]
        for code in codes:
            self._books[code].asked_at = now
        return codes


def _note(each: _TrackedBook, at: int, now: int) -> BookSnapshot | None:
    """The book at the last full minute before `at`, once, if it was known then; none of a time long ago."""
    end = (at - 1) // MINUTE * MINUTE
    if each.book.sequence is None or end <= max(each.noted, now - CORRECTED) or each.book.at > end:
        return None
    each.noted = end
    bids, asks = each.book.best(LEVELS)
    return BookSnapshot(symbol=each.book.symbol, ts=end, sequence=each.book.sequence, bids=bids, asks=asks)
