"""The days of bars, by the clock of UTC: the midnight that ends a day is the close of its last bar. Pure.

A coin's daily bar is known at that midnight, a stock's at the close of its session: bars of one date are of one day.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from helios.errors import DataError

INSTANT: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
_RANGE: Final = re.compile(r"([0-9]{8})?-([0-9]{8})?")


def day_of(close: datetime) -> date:
    """The day to which the bar with that close belongs."""
    return (close.astimezone(UTC) - INSTANT).date()


def first_close(day: str) -> datetime:
    """The first close that bars of a day, YYYYMMDD, can have. Raises: DataError."""
    return _midnight(day, day) + INSTANT


def parse_range(text: str | None) -> tuple[datetime | None, datetime | None]:
    """The first and the last close that bars of a range of days can have; either side may be left out.

    Ranges of days that follow each other share no bar. Raises: DataError.
    """
    if text is None:
        return None, None
    found = _RANGE.fullmatch(text)
    if found is None:
        raise DataError(f"--timerange must be like 20050101-20121231, was {text!r}")
    first, last = (None if part is None else _midnight(part, text) for part in found.groups())
    if first and last and last < first:
        raise DataError(f"--timerange must begin before it ends, was {text!r}")
    return first and first + INSTANT, last and last + _DAY


def _midnight(part: str, text: str) -> datetime:
    try:
        found = datetime.strptime(part, "%Y%m%d").replace(tzinfo=UTC)
        found + _DAY  # the last day that there is has no end
    except (ValueError, OverflowError):
        raise DataError(f"--timerange must name days of the calendar, {part} in {text!r} is none") from None
    return found
