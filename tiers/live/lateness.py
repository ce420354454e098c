"""When a bar is too old to be traded on, and when a stage has asked for another try too long."""

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
    """Whether the stage that is due first asked for another try longer ago than a bar may be late.

    How old its cycle is, or how often its message was sent, says nothing: it may have stood in a queue. So a replay's
    cycle has the same time, whatever the age of its bar.
    """
    return cycle.asked_at is not None and timezone.now() - cycle.asked_at > timedelta(seconds=ask_limit_s(cycle))


def ask_limit_s(cycle: PipelineCycle) -> float:
    """For how long a stage may ask for another try."""
    return get_env().max_bar_lateness_s[cycle.timeframe]
