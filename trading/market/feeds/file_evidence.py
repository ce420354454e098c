"""How well the hours in which US stocks trade explain bars: one figure, by which clocks are compared. Pure."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import polars as pl

from trading.market import timeframes
from trading.market.bars import BoolArray, TimeArray
from trading.market.calendars import NEW_YORK, US_CLOSE, Calendar
from trading.market.feeds.file_zones import AFTER, BEFORE, BY_NEW_YORK, CLOSING, OPENING, fit, in_utc

MINUTES_A_DAY = 1_440
ONE_DAY = np.timedelta64(1, "D")


def local_minutes(closes: TimeArray) -> pl.DataFrame:
    """The day in New York on which each bar closes, its minute there (a day's last one is 24:00), and summer time."""
    return pl.DataFrame({"utc": closes - np.timedelta64(1, "us")}).select_seq(
        day=BY_NEW_YORK.dt.date(),
        minute=BY_NEW_YORK.dt.hour().cast(pl.Int64) * 60 + BY_NEW_YORK.dt.minute() + 1,
        summer=BY_NEW_YORK.dt.dst_offset() > pl.duration(),
    )


def of_sessions(days: pl.Series, hours: Calendar) -> BoolArray:
    """Which dates have a session."""
    named = in_utc(days.cast(pl.Datetime("us")).dt.offset_by(f"{US_CLOSE.hour}h"), NEW_YORK.key)
    return hours.has_close("1d", named.to_numpy())


def log_likelihood(closes: TimeArray, hours: Calendar, timeframe: str) -> float:
    """Of (n,) closes, where bars are as frequent all through sessions, all through the hours beside them, and else.

    Of the hours that vendors have before and after sessions those count that explain the bars best. Holidays and
    weekends lie in none, so that they speak, too, and so do days of summer and of winter time.
    """
    step = timeframes.seconds(timeframe) // 60
    inside, traded = fit(closes, hours, timeframe)
    local = local_minutes(closes)
    day, minute = local["day"].to_numpy(), local["minute"].to_numpy()
    days = np.arange(day.min(), day.max() + ONE_DAY)
    open_days = days[of_sessions(pl.Series(days), hours)]
    beside = np.sort(minute[traded & ~inside & np.isin(day, open_days)])
    ends = in_utc(pl.Series(np.array([days[0], days[-1] + ONE_DAY])).cast(pl.Datetime("us")), NEW_YORK.key)
    n_inside, n_session = int(inside.sum()), int(np.diff(hours.index(timeframe, ends.to_numpy()))[0])
    most = -math.inf
    for first, last in product((*BEFORE, OPENING // step * step), (CLOSING, *AFTER)):
        if not first % step and not last % step:
            n_extended = len(open_days) * (last - first) // step - n_session
            n_beside = int(np.diff(np.searchsorted(beside, [first, last], "right"))[0])
            counts = (n_inside, n_beside, len(closes) - n_inside - n_beside)
            sizes = (n_session, n_extended, len(days) * MINUTES_A_DAY // step - n_session - n_extended)
            most = max(most, _of_counts(counts, sizes))
    return most


def _of_counts(counts: tuple[int, int, int], sizes: tuple[int, int, int]) -> float:
    """Of so many bars in zones of such sizes, each bar of a zone as likely as any other; but for what none changes."""
    if any(n and size <= 0 for n, size in zip(counts, sizes, strict=True)):
        return -math.inf
    return sum(n * math.log(n / size) for n, size in zip(counts, sizes, strict=True) if n)
