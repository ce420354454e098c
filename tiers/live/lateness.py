"""When a bar is too old to be traded on, and when its cycle has asked for another try too long."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from helios.env import get_env
from trading.models import Book, PipelineCycle


def is_late(book: Book, bar_ts: datetime, *, now: datetime, limit_s: float) -> bool:
    """Whether a bar is too old to be traded on; history has its own clock and is never late."""
    return book.mode != Book.Mode.REPLAY and now - bar_ts > timedelta(seconds=limit_s)


def late_now(book: Book, bar_ts: datetime) -> bool:
    """`is_late` by the wall clock and the limit of the book's timeframe."""
    return is_late(book, bar_ts, now=timezone.now(), limit_s=get_env().max_bar_lateness_s[book.timeframe])


def asked_too_long(cycle: PipelineCycle) -> bool:
    """Whether a stage that was tried before still asks for another try when its cycle, a replay's too, has run for as
    long as its bar may be late.
    """
    limit_s = get_env().max_bar_lateness_s[cycle.timeframe]
    return cycle.redriven > 0 and timezone.now() - cycle.started_at > timedelta(seconds=limit_s)
