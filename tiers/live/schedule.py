"""Which bar is due for which book. Replays advance bar by bar; paper and live books follow the market.

A bar is due once every symbol has it whose market closes one then, or `HELIOS_BAR_WAIT_S` after the first had it: the
ingest stage then names those that are still without. What comes later than that is part of later windows. A bar that a
market has closed and that no symbol has when it is too late to be traded is due, too, once: its cycle ends with that.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from billiard.exceptions import SoftTimeLimitExceeded
from django.utils import timezone
from loguru import logger

from helios.db.failures import lost
from helios.env import get_env
from helios.errors import error_text
from tiers.live import chain
from trading.books.read import last_bar
from trading.market import coverage, instruments, timeline
from trading.market import read as market
from trading.market.calendars import CALENDARS, calendar
from trading.models import Book, PipelineCycle

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def tick() -> int:
    """Start the next cycle of every active book that is idle; returns how many were started.

    Raises: what kept a book from its cycle, once the others have theirs.
    """
    n_started, failed = 0, list[Exception]()
    for book in Book.objects.filter(active=True).order_by("pk"):
        try:
            n_started += _start_due(book)
        except Exception as error:  # whatever it is, it is of this book alone, unless nothing can be read any more
            if lost(error) or isinstance(error, SoftTimeLimitExceeded):
                raise
            logger.bind(book=book.name, error=error_text(error)).error("cycle.not_started")
            failed.append(error)
    if failed:
        raise failed[0]
    return n_started


def _start_due(book: Book) -> int:
    if book.cycles.filter(status=PipelineCycle.Status.RUNNING).exists():
        return 0
    bar_ts = due_bar(book) or stale_bar(book)
    if bar_ts is None:
        _end_replay(book)
        return 0
    return 0 if chain.start(book, bar_ts) is None else 1


def _end_replay(book: Book) -> None:
    """A replay without a bar has come to its end; other books wait for theirs."""
    if book.mode == Book.Mode.REPLAY:
        Book.objects.filter(pk=book.pk, active=True).update(active=False)
        logger.bind(book=book.name).info("replay.ended")


def due_bar(book: Book) -> datetime | None:
    """The bar the book has to decide on next, or None while there is none."""
    if book.mode == Book.Mode.REPLAY:
        return next_replayed(book)
    previous = last_bar(book)
    newest = timeline.newest_bar(book.symbols, book.timeframe)
    if newest is None or (previous is not None and newest.bar_ts <= previous):
        return None
    if newest.absent and newest.since_s < get_env().bar_wait_s[book.timeframe]:
        named = instruments.calendars(instruments.named(newest.absent))
        if instruments.expected(newest.absent, named, book.timeframe, newest.bar_ts):
            return None
    return newest.bar_ts


def stale_bar(book: Book) -> datetime | None:
    """The newest bar that should have come and has not, for any symbol; None where all is well or this was told."""
    previous, newest = last_bar(book), timeline.newest_bar(book.symbols, book.timeframe)
    if book.mode == Book.Mode.REPLAY or newest is None or (previous is not None and previous > newest.bar_ts):
        return None
    named = instruments.calendars(instruments.named(book.symbols))
    now = timezone.now()
    in_time = now - timedelta(seconds=get_env().max_bar_lateness_s[book.timeframe])
    closes = [calendar(name).last_close(book.timeframe, in_time) for name in named.values() if name in CALENDARS]
    # Where nobody traded there is no bar to wait for.
    known = max([newest.bar_ts, *coverage.covered(now, book.symbols).values()])
    missed = max(closes, default=known)
    return missed if missed > known else None


def next_replayed(book: Book) -> datetime | None:
    """The stored bar behind the last one that a replay has decided on, None once it is over."""
    begin = book.replay_from - timedelta(microseconds=1) if book.replay_from else BEGINNING  # its first bar is that one
    following = market.next_bar_ts(book.symbols, book.timeframe, last_bar(book) or begin)
    over = following is not None and book.replay_until is not None and following > book.replay_until
    return None if over else following
