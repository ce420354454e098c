"""The clocks by which the times of a file may be written, and how well closes fit a market's hours. Pure."""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from helios.errors import DataError
from trading.market import timeframes
from trading.market.bars import BoolArray, TimeArray
from trading.market.calendars import NEW_YORK, US_CLOSE, Calendar

# The clocks by which vendors and brokers write bars of US stocks, each for all places that share it.
PLACES: Final = (
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
    "America/New_York+7",  # MetaTrader's servers: their day ends as New York's session of currencies does
)
FIXED: Final = tuple(f"Etc/GMT{west:+d}" for west in (*range(-14, 0), *range(1, 13)))
# Minutes of a day in New York: of sessions, and of the hours before and after them, as vendors have them.
OPENING, CLOSING = 9 * 60 + 30, US_CLOSE.hour * 60
BEFORE: Final = (4 * 60, 7 * 60, 8 * 60)
AFTER: Final = (18 * 60, 18 * 60 + 30, 20 * 60)
EXTENDED: Final = (BEFORE[0], AFTER[-1])
# Moments in UTC, of a column `utc`, as the clock of New York shows them.
BY_NEW_YORK: Final = pl.col("utc").dt.replace_time_zone("UTC").dt.convert_time_zone(NEW_YORK.key)
_THURSDAY, _SATURDAY = 3, 5  # of weeks that begin with Monday; 1970 began with a Thursday
_AHEAD: Final = re.compile(r"([^+-]*[a-z])([+-][0-9]{1,2})")


def check_zone(name: str) -> None:
    """Raises: DataError where no time zone has that name."""
    try:
        ZoneInfo(_ahead(name)[0])
    except (KeyError, OSError, ValueError) as error:
        raise DataError(f"--zone must be a time zone such as {NEW_YORK.key} or UTC, was {name!r}") from error


def in_utc(wall: pl.Series, zone: str) -> pl.Series:
    """The moments at which a place's clock shows these times; null where it shows one never or twice.

    A zone may be followed by hours, as in `America/New_York+7`: a clock that is so far ahead of that place's.
    """
    place, hours = _ahead(zone)
    shown = pl.col("wall").dt.offset_by(f"{-hours}h") if hours else pl.col("wall")
    local = shown.dt.replace_time_zone(place, ambiguous="null", non_existent="null")
    utc = local.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return pl.DataFrame({"wall": wall}).select_seq(utc).to_series()


def _ahead(zone: str) -> tuple[str, int]:
    found = _AHEAD.fullmatch(zone)
    return (found[1], int(found[2])) if found else (zone, 0)


def fit(closes: TimeArray, hours: Calendar, timeframe: str) -> tuple[BoolArray, BoolArray]:
    """Which closes are bars of sessions, and which lie in the hours at which stocks trade at all."""
    local = pl.DataFrame({"utc": closes}).select_seq(BY_NEW_YORK.dt.replace_time_zone(None)).to_series().to_numpy()
    day, minute = np.divmod(local.astype("datetime64[m]").astype(np.int64), 1_440)
    traded = (minute > EXTENDED[0]) & (minute <= EXTENDED[1]) & ((day + _THURSDAY) % 7 < _SATURDAY)
    on_grid = closes.astype(np.int64) % (timeframes.seconds(timeframe) * 1_000_000) == 0
    return hours.has_close(timeframe, closes), traded & on_grid
