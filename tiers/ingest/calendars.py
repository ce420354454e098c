"""When a market is open: the grid of bar closes that a complete series would have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from tiers.contracts import TimeArray, timeframes
from tiers.contracts.errors import DataError

ALWAYS, US_EQUITIES = "24/7", "XNYS"
CALENDARS = (ALWAYS, US_EQUITIES)
NEW_YORK = ZoneInfo("America/New_York")
MICROSECONDS = 1_000_000
MON, THU, FRI, SAT, SUN = 0, 3, 4, 5, 6

# Closures that no rule gives.
_CLOSED = frozenset(
    {
        *(date(2001, 9, day) for day in (11, 12, 13, 14)),
        date(2004, 6, 11),  # days of mourning: 2004, 2007, 2018, 2025
        date(2007, 1, 2),
        date(2012, 10, 29),  # hurricane Sandy
        date(2012, 10, 30),
        date(2018, 12, 5),
        date(2025, 1, 9),
    }
)
_OTHER_HALF_DAYS = frozenset({date(1999, 12, 31), date(2002, 7, 5), date(2003, 12, 26)})
_NOT_HALF_DAYS = frozenset({date(2002, 7, 3)})
_JUNETEENTH_SINCE = 2022


@dataclass(frozen=True, slots=True)
class Calendar:
    """A market's opening hours; `name` is `24/7` or the market's identifier code (ISO 10383)."""

    name: str

    def grid(self, timeframe: str, after: np.datetime64, last: np.datetime64) -> TimeArray:
        """The closes that a complete series has in (after, last], datetime64[us] UTC.

        Intraday bars end on multiples of their length on the UTC clock, so the first hour of a US session is
        half a bar. A daily bar of US equities is named 16:00 New York, on half days too.
        """
        step = timeframes.seconds(timeframe) * MICROSECONDS
        low, high = (int(value.astype("datetime64[us]").astype(np.int64)) for value in (after, last))
        if high <= low:
            return np.empty(0, "datetime64[us]")
        closes = _multiples(low, high, step) if self.name == ALWAYS else _session_closes(low, high, timeframe, step)
        return closes.astype("datetime64[us]")

    def closes_at(self, timeframe: str, bar_ts: datetime) -> bool:
        """Whether a bar of a complete series closes at that moment."""
        at = np.datetime64(bar_ts.astimezone(UTC).replace(tzinfo=None), "us")
        return len(self.grid(timeframe, at - np.timedelta64(1, "us"), at)) > 0

    def named_day(self, day: date) -> datetime:
        """The UTC close that names the daily bar of a date."""
        if self.name == ALWAYS:
            return datetime.combine(day, time(), UTC) + timedelta(days=1)
        return datetime.combine(day, time(16), NEW_YORK).astimezone(UTC)


def calendar(name: str) -> Calendar:
    """The calendar of that name; `DataError` names those that exist."""
    if name not in CALENDARS:
        raise DataError(f"calendar must be {' or '.join(CALENDARS)}, was {name!r}")
    return Calendar(name)


def _multiples(low: int, high: int, step: int) -> npt.NDArray[np.int64]:
    return np.arange(low // step + 1, high // step + 1, dtype=np.int64) * step


def _session_closes(low: int, high: int, timeframe: str, step: int) -> npt.NDArray[np.int64]:
    first, last = (datetime.fromtimestamp(value // MICROSECONDS, UTC).year for value in (low, high))
    years = [_year_closes(year, timeframe, step) for year in range(first, last + 1)]
    closes = years[0] if first == last else np.concatenate(years)
    begin, end = np.searchsorted(closes, (low, high), "right")
    return closes[begin:end]


@lru_cache(maxsize=128)
def _year_closes(year: int, timeframe: str, step: int) -> npt.NDArray[np.int64]:
    parts = []
    for opened, closed, day in _sessions(year):
        if timeframe == "1d":
            named = Calendar(US_EQUITIES).named_day(day)
            parts.append(np.array([int(named.timestamp()) * MICROSECONDS]))
        else:
            parts.append(_multiples(opened, -(-closed // step) * step, step))
    return np.concatenate(parts)


def _sessions(year: int) -> list[tuple[int, int, date]]:
    """Open and close in microseconds UTC, and the date, of each session of a year."""
    holidays, half_days = us_holidays(year), us_half_days(year)
    out = []
    for offset in range((date(year + 1, 1, 1) - date(year, 1, 1)).days):
        day = date(year, 1, 1) + timedelta(days=offset)
        if day.weekday() < SAT and day not in holidays:
            until = time(13) if day in half_days else time(16)
            opened, closed = (datetime.combine(day, at, NEW_YORK).timestamp() for at in (time(9, 30), until))
            out.append((int(opened) * MICROSECONDS, int(closed) * MICROSECONDS, day))
    return out


def us_holidays(year: int) -> frozenset[date]:
    """Weekdays on which US equity markets stay closed, by rule 7.2 of the NYSE and its special closures."""
    days = {
        _nth(year, 1, MON, 3),  # Martin Luther King, since 1998
        _nth(year, 2, MON, 3),
        easter(year) - timedelta(days=2),
        _nth(year, 6, MON, 1) - timedelta(days=7),  # the last Monday of May
        _observed(date(year, 7, 4)),
        _nth(year, 9, MON, 1),
        _nth(year, 11, THU, 4),
        _observed(date(year, 12, 25)),
    }
    new_year = date(year, 1, 1)
    if new_year.weekday() != SAT:  # a Saturday's New Year is not made up on the last day of the old year
        days.add(_observed(new_year))
    if year >= _JUNETEENTH_SINCE:
        days.add(_observed(date(year, 6, 19)))
    return frozenset(days | {day for day in _CLOSED if day.year == year})


def us_half_days(year: int) -> frozenset[date]:
    """Days on which the session ends at 13:00 New York."""
    days = {_nth(year, 11, THU, 4) + timedelta(days=1)}
    if MON < date(year, 7, 4).weekday() <= FRI:
        days.add(date(year, 7, 3))
    if date(year, 12, 25).weekday() in range(MON + 1, SAT):
        days.add(date(year, 12, 24))
    return frozenset((days | {day for day in _OTHER_HALF_DAYS if day.year == year}) - _NOT_HALF_DAYS)


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Jones and Butcher)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = divmod(h + weekday - 7 * m + 114, 31)
    return date(year, month, day + 1)


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _observed(day: date) -> date:
    shift = {SAT: -1, SUN: 1}.get(day.weekday(), 0)
    return day + timedelta(days=shift)
