"""Which clock the times of a file show where they name no offset from UTC. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from helios.errors import DataError
from trading.market.bars import TimeArray
from trading.market.calendars import NEW_YORK, Calendar

# The clocks by which vendors and brokers write bars of US stocks, each for all places that share it.
CLOCKS: Final = (
    "America/New_York",
    "America/Chicago",
    "America/Los_Angeles",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Helsinki",
    "Asia/Kolkata",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
)
ENOUGH: Final = 100_000  # rows, of any number
STRAYS: Final = 0.02  # of the rows: a clock that fits no more of them than this is no evidence
# Stocks trade before and after a session, too: minutes of a day in New York.
_EXTENDED: Final = (4 * 60, 20 * 60)
_FRIDAY: Final = 5


def check_zone(name: str) -> None:
    """Raises: DataError where no time zone has that name."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise DataError(f"--zone must be a time zone such as {NEW_YORK.key} or UTC, was {name!r}") from error


def in_utc(wall: pl.Series, zone: str) -> pl.Series:
    """The moments at which a place's clock shows these times; null where it shows one never or twice."""
    return (
        wall.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
        .dt.convert_time_zone("UTC")
        .dt.replace_time_zone(None)
    )


def check_clock(wall: pl.Series, hours: Calendar, timeframe: str, closes_of: Callable[[pl.Series], TimeArray]) -> None:
    """Refuse times that fit the hours of a market by the clock of some place, and less well as UTC.

    `closes_of` makes closes of bars of moments in UTC. Daily bars are named by days, and show no clock. Raises:
    DataError that names the clock.
    """
    closes = closes_of(wall)
    if timeframe == "1d" or not hours.closes or hours.has_close(timeframe, closes).all():
        return
    wall = wall.sample(min(len(wall), ENOUGH), seed=0)
    as_utc = fit(closes_of(wall), hours, timeframe)
    fits = {}
    for zone in CLOCKS:
        moments = in_utc(wall, zone)
        fits[zone] = fit(closes_of(moments.zip_with(moments.is_not_null(), wall)), hours, timeframe)
    best = max(fits, key=lambda zone: sum(fits[zone]))
    if sum(fits[best]) - sum(as_utc) > STRAYS * len(wall):
        raise DataError(
            f"expected times in UTC, as none names an offset, but {best} has {fits[best][0]} of {len(wall)} rows in "
            f"sessions of {hours.name} and {fits[best][1]} in hours of trade, UTC {as_utc[0]} and {as_utc[1]}; "
            f"--zone {best} reads them by that clock, --zone UTC as they stand"
        )


def fit(closes: TimeArray, hours: Calendar, timeframe: str) -> tuple[int, int]:
    """How many closes are bars of sessions, and how many lie in the hours at which stocks trade at all."""
    local = pl.Series(closes).dt.replace_time_zone("UTC").dt.convert_time_zone(NEW_YORK.key)
    minutes = local.dt.hour().cast(pl.Int32) * 60 + local.dt.minute()
    traded = (minutes > _EXTENDED[0]) & (minutes <= _EXTENDED[1]) & (local.dt.weekday() <= _FRIDAY)
    return int(hours.has_close(timeframe, closes).sum()), int(traded.sum())
