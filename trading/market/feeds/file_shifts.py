"""Whether bars of stocks lie beside the hours of their market, day after day: what only a wrong clock makes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from trading.market import timeframes
from trading.market.bars import TimeArray
from trading.market.calendars import NEW_YORK, US_CLOSE, Calendar
from trading.market.feeds.file_evidence import local_minutes
from trading.market.feeds.file_zones import BY_NEW_YORK, EXTENDED, in_utc

SESSIONS: Final = 5  # that follow each other; bars within days may be of fewer, if there are no others
BARS_A_DAY: Final = 5  # the ends of fewer are chance
LEAST: Final = 5  # minutes: the bar of a closing auction follows a session by less
ALIKE: Final = 6  # a shift at one end, over its difference from that at the other one
FITS: Final = 0.98  # of the days; the others are strays
MINUTES_A_DAY: Final = 1_440
MINUTE: Final = np.timedelta64(1, "m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """By how many minutes bars follow the hours of their market, or precede them; `since` is the first such close."""

    minutes: int
    since: np.datetime64

    def __str__(self) -> str:
        hours, minutes = divmod(abs(self.minutes), 60)
        length = " and ".join([f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0))
        return f"{length} too {'late' if self.minutes > 0 else 'early'}"


def shift_of(closes: TimeArray, hours: Calendar, timeframe: str) -> Shift | None:
    """How far the first closes of some days lie from those of their sessions, where the last ones do by the same.

    Bars before a session alone, or after it, are no shift, nor is a bar that is missing: both ends have moved. Hours in
    which stocks trade before and after sessions move so, too.
    """
    by_day = local_minutes(closes).with_columns(ts=closes).group_by("day")
    days = by_day.agg(first=pl.col("ts").min(), last=pl.col("ts").max(), n_bars=pl.len()).sort("day")
    begins, ends = (in_utc(days["day"].cast(pl.Datetime("us")).dt.offset_by(by), NEW_YORK.key) for by in ("0d", "1d"))
    first, last = (hours.index(timeframe, moments.to_numpy()) for moments in (begins, ends))
    held = last > first
    begun, earliest, latest, n_bars = (
        column.to_numpy()[held] for column in (begins, days["first"], days["last"], days["n_bars"])
    )
    if not held.any():
        return None
    early, late = (np.timedelta64(minutes, "m") for minutes in EXTENDED)
    distance = (latest - earliest) / MINUTE / n_bars  # of two bars: ends that have moved by less are chance
    length = np.timedelta64(timeframes.seconds(timeframe), "s")
    session = (hours.close_of(timeframe, first[held] + 1), hours.close_of(timeframe, last[held]))
    for opening, closing in (session, (begun + early + length, begun + late)):
        start, end, enough, apart = (
            np.lib.stride_tricks.sliding_window_view(of_days, min(SESSIONS, len(begun)))
            for of_days in ((earliest - opening) // MINUTE, (latest - closing) // MINUTE, n_bars, distance)
        )
        start, end = start.min(axis=1), end.max(axis=1)
        least = np.minimum(abs(start), abs(end))
        shifted = (start * end > 0) & (least >= LEAST) & (ALIKE * abs(start - end) <= least)
        shifted &= (enough.mean(axis=1) >= BARS_A_DAY) & (least >= apart.mean(axis=1))
        if shifted.any():
            at = int(np.where(shifted, least, 0).argmax())
            return Shift(minutes=int(start[at]), since=earliest[at])
    return None


def day_shift(closes: TimeArray, hours: Calendar) -> Shift | None:
    """The same of daily bars: a day, where the days beside them are those of sessions and they are not.

    Dates on Saturdays, and none on Mondays, come of midnights that end their days.
    """
    local = pl.DataFrame({"utc": closes}).select_seq(BY_NEW_YORK.dt.replace_time_zone(None)).to_series()
    named = local.filter(local.dt.time() == US_CLOSE)
    own, *others = (
        hours.has_close("1d", in_utc(named.dt.offset_by(by), NEW_YORK.key).to_numpy()) for by in ("0d", "-1d", "1d")
    )
    for days, moved in zip((1, -1), others, strict=True):
        if len(own) >= SESSIONS and own.mean() < FITS <= moved.mean():
            since = in_utc(named, NEW_YORK.key).to_numpy()[~own].min()
            return Shift(minutes=days * MINUTES_A_DAY, since=since)
    return None
