"""When a market is open: the grid of bar closes that a complete series would have. Pure."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from helios.errors import DataError
from trading.market import timeframes
from trading.market.bars import TimeArray
from trading.market.timestamps import stamp

ALWAYS_OPEN, US_EQUITIES = "24/7", "XNYS"
CALENDARS: Final = (ALWAYS_OPEN, US_EQUITIES)
NEW_YORK: Final = ZoneInfo("America/New_York")
US_CLOSE: Final = time(16)  # it names a session's daily bar, on half days too
_KNOWN_YEARS: Final = ("1900-01-01", "2099-12-31")  # outside of them no session is known

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calendar:
    """A market's opening hours; `name` is `24/7` or the market's identifier code (ISO 10383)."""

    name: str

    @property
    def closes(self) -> bool:
        """Whether the market closes at all: at night, on weekends or on holidays."""
        return self.name != ALWAYS_OPEN

    def grid(self, timeframe: str, after: np.datetime64, last: np.datetime64) -> TimeArray:
        """The closes that a complete series has in (after, last], datetime64[us] UTC.

        Intraday bars end on multiples of their length on the UTC clock, so the first hour of a US session is
        half a bar. A daily bar of US equities is named 16:00 New York, on half days too.
        """
        step = timeframes.seconds(timeframe) * 1_000_000
        low, high = (int(value.astype("datetime64[us]").astype(np.int64)) for value in (after, last))
        if high <= low:
            return np.empty(0, "datetime64[us]")
        if not self.closes:
            return _multiples(low, high, step).astype("datetime64[us]")
        sessions = _us_sessions()
        closes = sessions.named if timeframe == "1d" else sessions.intraday(low, high, step)
        begin, end = np.searchsorted(closes, (low, high), "right")
        return closes[begin:end].astype("datetime64[us]")

    def closes_at(self, timeframe: str, bar_ts: datetime) -> bool:
        """Whether a bar of a complete series closes at that moment."""
        at = stamp(bar_ts)
        return len(self.grid(timeframe, at - np.timedelta64(1, "us"), at)) > 0

    def named_day(self, day: date) -> datetime:
        """The UTC close that names the daily bar of a date."""
        if not self.closes:
            return datetime.combine(day, time(), UTC) + timedelta(days=1)
        return datetime.combine(day, US_CLOSE, NEW_YORK).astimezone(UTC)


def calendar(name: str) -> Calendar:
    """The calendar of that name; `DataError` names those that exist."""
    if name not in CALENDARS:
        raise DataError(f"calendar must be {' or '.join(CALENDARS)}, was {name!r}")
    return Calendar(name)


@dataclass(frozen=True, slots=True)
class _Sessions:
    """Every session of a market in microseconds UTC, ascending: when it opened and closed, and its daily bar's name."""

    opened: IntArray
    closed: IntArray
    named: IntArray

    def intraday(self, low: int, high: int, step: int) -> IntArray:
        """The multiples of `step` that end a bar of the sessions between `low` and `high`."""
        first, last = np.searchsorted(self.closed, low - step), np.searchsorted(self.opened, high)
        spans = zip(self.opened[first:last].tolist(), self.closed[first:last].tolist(), strict=True)
        return np.concatenate([np.empty(0, np.int64), *(_multiples(a, -(-b // step) * step, step) for a, b in spans)])


@lru_cache(maxsize=1)
def _us_sessions() -> _Sessions:
    """Half a second of work and of imports, so it is done where a session is first asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library calls what pandas 4 will have renamed
        from exchange_calendars.exchange_calendar_xnys import XNYSExchangeCalendar  # noqa: PLC0415 - slow to import

        found = XNYSExchangeCalendar(*_KNOWN_YEARS)
        named = (found.sessions + np.timedelta64(US_CLOSE.hour, "h")).tz_localize(NEW_YORK)
        moments = (found.opens.dt.tz_convert(None), found.closes.dt.tz_convert(None), named.tz_convert(None))
    return _Sessions(*(each.to_numpy("datetime64[us]").astype(np.int64) for each in moments))


def _multiples(low: int, high: int, step: int) -> IntArray:
    return np.arange(low // step + 1, high // step + 1, dtype=np.int64) * step
