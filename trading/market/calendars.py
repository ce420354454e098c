"""When a market is open: the grid of bar closes that a complete series would have. Pure."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from helios.errors import DataError
from trading.market import timeframes
from trading.market.bars import BoolArray, IntArray, TimeArray
from trading.market.timestamps import stamp, utc

ALWAYS_OPEN, US_EQUITIES = "24/7", "XNYS"
CALENDARS: Final = (ALWAYS_OPEN, US_EQUITIES)
NEW_YORK: Final = ZoneInfo("America/New_York")
LONGEST_CLOSURE: Final = timedelta(days=7)  # over holidays; an instrument without a bar for longer has more than those
US_CLOSE: Final = time(16)  # it names a session's daily bar, on half days too
_KNOWN_YEARS: Final = ("1900-01-01", "2099-12-31")  # outside of them no session is known


@dataclass(frozen=True, slots=True)
class Calendar:
    """A market's opening hours; `name` is `24/7` or the market's identifier code (ISO 10383)."""

    name: str

    @property
    def closes(self) -> bool:
        """Whether the market closes at all: at night, on weekends or on holidays."""
        return self.name != ALWAYS_OPEN

    def index(self, timeframe: str, ts: TimeArray) -> IntArray:
        """The number of the last close of a complete series at or before each time: differences count bars.

        Intraday bars end on multiples of their length on the UTC clock, so the first hour of a US session is
        half a bar. A daily bar of US equities is named 16:00 New York, on half days too. Any shape; NaT has no
        meaning. No time costs more than another, however far apart they lie.
        """
        ticks = ts.astype("datetime64[us]").astype(np.int64)
        step = timeframes.seconds(timeframe) * 1_000_000
        if not self.closes:
            return np.asarray(ticks // step)
        if timeframe == "1d":
            return np.searchsorted(_us_sessions().named, ticks, "right")
        buckets = _us_buckets(step)
        session = np.searchsorted(buckets.opened, ticks, "left") - 1
        into = np.clip(ticks // step - buckets.first[session] + 1, 0, buckets.n_bars[session])
        return np.where(session < 0, 0, buckets.before[session] + into)

    def close_of(self, timeframe: str, index: IntArray) -> TimeArray:
        """The close that has that number: the way back from `index`."""
        step = timeframes.seconds(timeframe) * 1_000_000
        if not self.closes:
            return (index * step).astype("datetime64[us]")
        if timeframe == "1d":
            return _us_sessions().named[index - 1].astype("datetime64[us]")
        buckets = _us_buckets(step)
        session = np.searchsorted(buckets.before, index, "left") - 1
        return ((buckets.first[session] + index - buckets.before[session] - 1) * step).astype("datetime64[us]")

    def has_close(self, timeframe: str, ts: TimeArray) -> BoolArray:
        """Whether a bar of a complete series closes at each time; never at NaT."""
        return np.asarray(self.close_of(timeframe, self.index(timeframe, ts)) == ts)

    def opens_at(self, ts: TimeArray) -> BoolArray:
        """Whether a session begins at each time; always open, none does."""
        if not self.closes:
            return np.zeros(ts.shape, bool)
        return np.isin(ts.astype("datetime64[us]").astype(np.int64), _us_sessions().opened)

    def grid(self, timeframe: str, after: np.datetime64, last: np.datetime64) -> TimeArray:
        """The closes that a complete series has in (after, last], datetime64[us] UTC."""
        begin, end = self.index(timeframe, np.array([after, last])) + 1
        return self.close_of(timeframe, np.arange(begin, end))

    def closes_at(self, timeframe: str, bar_ts: datetime) -> bool:
        """Whether a bar of a complete series closes at that moment."""
        return bool(self.has_close(timeframe, np.array([stamp(bar_ts)]))[0])

    def last_close(self, timeframe: str, moment: datetime) -> datetime:
        """The last close of a complete series at or before a moment."""
        return utc(self.close_of(timeframe, self.index(timeframe, np.array([stamp(moment)])))[0])

    def closed_on_the_day_of(self, close: datetime) -> bool:
        """Whether the day in which a bar of that close lies, by the market's clock, has no session at all."""
        day = (close - timedelta(microseconds=1)).astimezone(NEW_YORK).date()
        return self.closes and not self.closes_at("1d", self.named_day(day))

    def named_day(self, day: date) -> datetime:
        """The UTC close that names the daily bar of a date."""
        if not self.closes:
            return datetime.combine(day, time(), UTC) + timedelta(days=1)
        return datetime.combine(day, US_CLOSE, NEW_YORK).astimezone(UTC)

    def begins(self, day: date) -> datetime:
        """The moment in UTC at which a date begins by the market's clock; no bar of the day before closes later."""
        return datetime.combine(day, time(), NEW_YORK if self.closes else UTC).astimezone(UTC)


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


@dataclass(frozen=True, slots=True)
class _Buckets:
    """The bars of one length of every session: when it opened, its first multiple, how many it has and were before."""

    opened: IntArray
    first: IntArray
    n_bars: IntArray
    before: IntArray


@lru_cache(maxsize=len(timeframes.TIMEFRAMES))
def _us_buckets(step: int) -> _Buckets:
    sessions = _us_sessions()
    first = sessions.opened // step + 1
    n_bars = -(-sessions.closed // step) - first + 1
    return _Buckets(sessions.opened, first, n_bars, np.cumsum(n_bars) - n_bars)


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
