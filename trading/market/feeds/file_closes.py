"""Which bars the times of a file name, by the closes of those bars. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt

from helios.errors import DataError
from trading.market import timeframes
from trading.market.bars import BoolArray, TimeArray
from trading.market.calendars import NEW_YORK, Calendar
from trading.market.feeds.file_zones import fit
from trading.market.timestamps import stamp, utc

Times = Literal["close", "open"]
NO_EVIDENCE = "nothing says otherwise, so that opens, which most exchanges write, would be known a bar too early"
TIMES_AS_MANY = 3
DAY, HOUR, MINUTE, SECOND = (np.timedelta64(seconds, "s") for seconds in (86_400, 3_600, 60, 1))
WEST = (4, 5)  # hours of New York behind UTC, in summer and in winter
# A day in New York is named by its midnight, its opening or its close.
_DAY_STARTS = (0, 9 * 60 + 30, 16 * 60)


@dataclass(frozen=True, slots=True)
class TimeLabel:
    """What times name: a bar's "close", "open" or "day", or a "trade"; and why, as the end of a sentence."""

    kind: str
    because: str
    clear: bool = True

    def __str__(self) -> str:
        plural = {"close": "closes", "open": "opens", "day": "days", "trade": "trades"}[self.kind]
        return f"{plural}, as {self.because}"

    def check(self) -> None:
        """Raises: DataError where the times speak against both."""
        if not self.clear:
            raise DataError(
                "expected times that begin the first bar of each session, or end its last one, was both, as of bars "
                "before and after sessions; --times open or --times close says what they name"
            )


def named_closes(
    ts: TimeArray, wall: TimeArray, timeframe: str, hours: Calendar, *, label: str = "", because: str = ""
) -> tuple[TimeArray, TimeLabel]:
    """(n,) times in UTC, and as a clock where they were written shows them -> (n,) closes of their bars in UTC.

    `label` is "open" or "close" where the file or somebody tells, `because` of what. Daily bars of a market that
    closes are named by the session of their day, whatever else is said; a time among them that names no day stays as it
    is, and breaks the calendar unless it is a close. A market that never closes has days that end at the next midnight
    UTC. A close that ends in :59 or in .999 means the full minute that follows.
    """
    if timeframe == "1d" and hours.closes:
        found = _days(ts, wall)
        if found is not None:
            days, named, all_year = found
            closes = np.where(named, _of_days(days.tolist(), hours), ts)
            return closes, TimeLabel("day", f"{all_year}a day's bar is known at the close of its session")
    if label != "open" and _mostly(_ends(ts)):
        full = np.where(_ends(ts), ts.astype("datetime64[m]") + MINUTE, ts)
        return full.astype("datetime64[us]"), TimeLabel("close", because or "they end just before a full minute")
    if label:
        return _parted(ts, _next_closes(ts, timeframe, hours)) if label == "open" else ts, TimeLabel(label, because)
    return _as_they_show(ts, wall, timeframe, hours)


def _as_they_show(ts: TimeArray, wall: TimeArray, timeframe: str, hours: Calendar) -> tuple[TimeArray, TimeLabel]:
    """The same where nobody says what the times name."""
    length = np.timedelta64(timeframes.seconds(timeframe), "s")
    if timeframe == "1d" and not hours.closes and _mostly(ts.astype("datetime64[D]") == ts):
        return ts + DAY, TimeLabel("day", "midnights name them: each is known at the next; --times close changes that")
    if hours.closes:
        return _by_hours(ts, _next_closes(ts, timeframe, hours), hours, timeframe)
    if _are_midnights(wall.min(), wall.max() + length):
        return ts + length, TimeLabel(
            "open", "the first begins a day and the last is a bar before one; --times close changes that"
        )
    why = "the last ends a day" if _are_midnights(wall.min() - length, wall.max()) else NO_EVIDENCE
    return ts, TimeLabel("close", f"{why}; --times open changes that")


def _next_closes(ts: TimeArray, timeframe: str, hours: Calendar) -> TimeArray:
    """The closes of bars that begin at these times. Where all others begin on multiples of their length, the bar that
    a session begins with, such as the half hour from 9:30 in New York, ends at the next of these.
    """
    length = np.timedelta64(timeframes.seconds(timeframe), "s")
    within = (ts - np.datetime64(0, "s")) % length
    short = within > np.timedelta64(0)
    if short.any() and hours.opens_at(ts[short]).all():
        return np.asarray(ts - within + length)
    return ts + length


def _parted(ts: TimeArray, closes: TimeArray) -> TimeArray:
    """The closes of bars that begin at these times, where one that ends with a later, shorter one ends as that begins.

    So the half hour from 9:00 is not taken for the one from 9:30 that a session begins with.
    """
    order = np.lexsort((ts, closes))
    last = ts[order][np.searchsorted(closes[order], closes, side="right") - 1]  # to begin, of those that end so
    return np.where(ts < last, last, closes)


def _by_hours(ts: TimeArray, later: TimeArray, hours: Calendar, timeframe: str) -> tuple[TimeArray, TimeLabel]:
    """Opens, where times begin a bar of the market's hours and end none, as the first ones do; or closes.

    The hours of trade before and after sessions go before those of sessions, at whose ends bars of both follow bars.
    """
    both = tuple(zip(fit(later, hours, timeframe), fit(ts, hours, timeframe), strict=True))
    counts = [(int((opens & ~closes).sum()), int((closes & ~opens).sum())) for opens, closes in reversed(both)]
    for n_opens, n_closes in counts:
        if n_opens > TIMES_AS_MANY * n_closes:
            return _parted(ts, later), TimeLabel("open", f"more of them begin a bar of {hours.name} than end one")
        if n_closes > TIMES_AS_MANY * n_opens:
            return ts, TimeLabel("close", f"more of them end a bar of {hours.name} than begin one")
    return ts, TimeLabel("close", f"{NO_EVIDENCE}; --times open changes that", clear=not any(map(any, counts)))


def _are_midnights(*moments: np.datetime64) -> bool:
    return all(moment == moment.astype("datetime64[D]") for moment in moments)


def _mostly(mask: BoolArray) -> bool:
    return bool(mask.mean() > 0.5)


def _ends(ts: TimeArray) -> BoolArray:
    """Whether a time is the last second of a minute, or the last of its fractions."""
    return np.asarray(ts - ts.astype("datetime64[m]") >= MINUTE - SECOND)


def _days(ts: TimeArray, wall: TimeArray) -> tuple[npt.NDArray[np.datetime64], BoolArray, str] | None:
    """The days that times of daily bars name: midnights where they were written, else moments of a day in New York.

    With them which times name one, since another may lie a day beside its session, as a midnight of elsewhere does, and
    a word where those moments stand still in UTC, so that the clock of New York moves by an hour beside them.
    """
    days = wall.astype("datetime64[D]")
    midnight = np.asarray(days == wall)
    if _mostly(midnight):
        return days, midnight, ""
    local = np.array([utc(each).astimezone(NEW_YORK).replace(tzinfo=None) for each in ts], "datetime64[m]")
    days = local.astype("datetime64[D]")
    midnight, opening, close = (local == days + np.timedelta64(minutes, "m") for minutes in _DAY_STARTS)
    since, until = (days + np.timedelta64(minutes, "m") for minutes in _DAY_STARTS[1:])
    named = midnight | (local >= since - HOUR) & (local <= until + HOUR)
    still, moment = _standing_still(ts)
    if moment and not (midnight | opening | close)[still].all():
        return (
            np.where(still, ts.astype("datetime64[D]"), days),
            named | still,
            f"they stand at {moment} UTC all year: ",
        )
    return (days, named, "") if _mostly(midnight | opening | close) else None


def _standing_still(ts: TimeArray) -> tuple[BoolArray, str]:
    """Which times are at the moment of most, and that moment; empty unless it begins or ends a day in New York."""
    moments = ts - ts.astype("datetime64[D]")
    found, counts = np.unique(moments, return_counts=True)
    most = found[counts.argmax()]
    still = np.asarray(moments == most)
    if not _mostly(still) or most not in {(np.timedelta64(m, "m") + west * HOUR) for m in _DAY_STARTS for west in WEST}:
        return still, ""
    return still, str((np.datetime64(0, "D") + most).astype("datetime64[m]"))[11:]


def _of_days(days: Iterable[date], hours: Calendar) -> TimeArray:
    return np.array([stamp(hours.named_day(each)) for each in days], "datetime64[us]")
