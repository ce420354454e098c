"""When a bar is too old to be traded on."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from helios.env import get_env
from trading.models import Book


def is_late(book: Book, bar_ts: datetime, *, now: datetime, limit_s: float) -> bool:
    """Whether a bar is too old to be traded on; history has its own clock and is never late."""
    return book.mode != Book.Mode.REPLAY and now - bar_ts > timedelta(seconds=limit_s)


def late_now(book: Book, bar_ts: datetime) -> bool:
    """`is_late` by the wall clock and the limit of the book's timeframe."""
    return is_late(book, bar_ts, now=timezone.now(), limit_s=get_env().max_bar_lateness_s[book.timeframe])
