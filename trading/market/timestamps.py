"""Conversions between the times of arrays, of streams and of rows.

Arrays hold UTC without saying so, streams count microseconds since 1970, rows are aware. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from trading.market.bars import TimeArray

SECOND: Final = 1_000_000  # microseconds, in which streams count
MINUTE: Final = 60 * SECOND
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def utc(stamp: np.datetime64) -> datetime:
    """A NumPy time as an aware datetime in UTC."""
    moment: datetime = stamp.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def utc_times(ts: TimeArray) -> tuple[datetime, ...]:
    """(n,) NumPy times as aware datetimes in UTC."""
    moments: list[datetime] = ts.astype("datetime64[us]").tolist()
    return tuple(moment.replace(tzinfo=UTC) for moment in moments)


def stamp(moment: datetime) -> np.datetime64:
    """An aware datetime as a NumPy time in UTC."""
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def microseconds(moment: datetime) -> int:
    """An aware datetime since 1970."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def begun(at: datetime, length: timedelta) -> datetime:
    """When the bar of that length began that holds a moment, or begins with it, by the clock of UTC."""
    return at - (at - _EPOCH) % length


def moment(us: int) -> datetime:
    """Microseconds since 1970 as an aware datetime in UTC."""
    return _EPOCH + us * _MICROSECOND
