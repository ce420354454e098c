"""Refuse times that show another clock than the one by which they are read. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from helios.errors import DataError
from trading.market.bars import TimeArray
from trading.market.calendars import Calendar
from trading.market.feeds.file_shifts import Shift, day_shift, shift_of
from trading.market.feeds.file_times import Moments
from trading.market.feeds.file_zones import CLOCKS, fit, in_utc

ENOUGH: Final = 10_000  # rows, of any number
STRAYS: Final = 0.02  # of the rows: a clock that fits no more of them than this is no evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How moments in UTC become closes of bars of a market: the same for every clock that is tried."""

    closes_of: Callable[[pl.Series], TimeArray]
    hours: Calendar
    timeframe: str

    def shift(self, utc: pl.Series) -> Shift | None:
        """How far the bars lie beside the hours of the market."""
        closes = self.closes_of(utc)
        return day_shift(closes, self.hours) if self.timeframe == "1d" else shift_of(closes, self.hours, self.timeframe)

    def fit(self, utc: pl.Series) -> tuple[int, int]:
        """How many of the bars are of sessions, and how many lie in hours of trade."""
        sessions, traded = fit(self.closes_of(utc), self.hours, self.timeframe)
        return int(sessions.sum()), int(traded.sum())


def check_clock(moments: Moments, rows: npt.NDArray[np.int64], reading: Reading, *, taken_for: str) -> None:
    """Refuse times whose bars lie beside the hours of a market day after day, whoever named their clock.

    Where nobody did, times within days that fit the clock of some place better than UTC are refused, too. `taken_for`
    says in words how the times are read. Raises: DataError that names a clock that fits, if there is one.
    """
    hours, daily = reading.hours, reading.timeframe == "1d"
    closes = reading.closes_of(moments.utc)
    if not hours.closes or hours.has_close(reading.timeframe, closes).all():
        return
    shift = reading.shift(moments.utc)
    if shift is None and (daily or moments.zone):
        return
    sample = moments.take(np.random.default_rng(0).permutation(len(closes)) < ENOUGH)
    own, n_rows = reading.fit(sample.utc), len(sample.utc)
    least = sum(own) + (0 if shift else STRAYS * n_rows)
    zone, there = ("", own) if daily else _better(sample.wall, moments.wall, reading, least)
    if zone and not moments.zone:
        raise DataError(
            f"expected times in UTC, as none names an offset, but {zone} has {there[0]} of {n_rows} rows in "
            f"sessions of {hours.name} and {there[1]} in hours of trade, UTC {own[0]} and {own[1]}; "
            f"--zone {zone} reads them by that clock{'' if shift else ', --zone UTC as they stand'}"
        )
    if shift:
        offer = f"the clock of {zone} fits, and --zone names it for times without an offset"
        other = "each must be named by its own date" if daily else "neither the clock of a place nor an offset fits"
        raise DataError(
            f"expected bars of sessions of {hours.name}, was bars {shift}, day after day, from row "
            f"{rows[np.flatnonzero(closes == shift.since)[0]]} on, where times are taken for {taken_for}; "
            f"{offer if zone else other}"
        )


def _better(sample: pl.Series, wall: pl.Series, reading: Reading, least: float) -> tuple[str, tuple[int, int]]:
    """The clock that fits best, and more than `least`, and whose bars lie beside no hours; an empty name if none is."""
    fits = {zone: reading.fit(_by(sample, zone)) for zone in CLOCKS}
    for zone in sorted(CLOCKS, key=lambda zone: -sum(fits[zone])):
        if sum(fits[zone]) <= least:
            break
        if reading.shift(_by(wall, zone)) is None:
            return zone, fits[zone]
    return "", (0, 0)


def _by(wall: pl.Series, zone: str) -> pl.Series:
    moments = in_utc(wall, zone)
    return moments.zip_with(moments.is_not_null(), wall)
