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
from trading.market.calendars import ALWAYS_OPEN, US_EQUITIES, Calendar
from trading.market.feeds.file_hours import STRAYS, TradingHours, trading_hours
from trading.market.feeds.file_shifts import Shift, day_shift, shift_of
from trading.market.feeds.file_times import Moments
from trading.market.feeds.file_zones import CLOCKS, fit, in_utc

ENOUGH: Final = 10_000  # rows, of any number

DAYS_OF_OTHERS: Final = "each must be named by its own date"
FITS: Final = "the clock of {} fits, and --zone names it for times without an offset"
FITS_NONE: Final = (
    f"no session of {US_EQUITIES} has such hours by the clock of any place or by any offset, and no calendar is known "
    f"but {US_EQUITIES} and {ALWAYS_OPEN}: --asset-class crypto is for what trades at night or around the clock, and "
    "nothing else helps"
)


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

    def hours_of(self, utc: pl.Series) -> TradingHours:
        """What the bars show of the hours of their market."""
        return trading_hours(self.closes_of(utc), self.hours, self.timeframe)

    def fit(self, utc: pl.Series) -> tuple[int, int]:
        """How many of the bars are of sessions, and how many lie in hours of trade."""
        sessions, traded = fit(self.closes_of(utc), self.hours, self.timeframe)
        return int(sessions.sum()), int(traded.sum())


def check_clock(moments: Moments, rows: npt.NDArray[np.int64], reading: Reading, *, taken_for: str) -> None:
    """Refuse times whose bars lie beside the hours of a market day after day, whoever named their clock.

    Where nobody did, times within days that fit the clock of some place better than UTC are refused, too. `taken_for`
    says in words how the times are read. Raises: DataError that names a clock that explains them, if there is one.
    """
    hours, daily = reading.hours, reading.timeframe == "1d"
    closes = reading.closes_of(moments.utc)
    if not hours.closes or hours.has_close(reading.timeframe, closes).all():
        return
    shift = reading.shift(moments.utc)
    wrong = shift is not None or (not daily and reading.hours_of(moments.utc).contradicted)
    if not wrong and (daily or moments.zone):
        return
    sample = moments.take(np.random.default_rng(0).permutation(len(closes)) < ENOUGH)
    own, n_rows = reading.fit(sample.utc), len(sample.utc)
    least = sum(own) + (0 if wrong else STRAYS * n_rows)
    zone, there = ("", own) if daily else _better(sample.wall, moments.wall, reading, least)
    if zone and not moments.zone:
        raise DataError(
            f"expected times in UTC, as none names an offset, but {zone} has {there[0]} of {n_rows} rows in "
            f"sessions of {hours.name} and {there[1]} in hours of trade, UTC {own[0]} and {own[1]}; "
            f"--zone {zone} reads them by that clock{'' if wrong else ', --zone UTC as they stand'}"
        )
    if wrong:
        found = (
            f"bars {shift}, day after day, from row {rows[np.flatnonzero(closes == shift.since)[0]]} on"
            if shift
            else f"bars of other hours day after day ({own[0]} of {n_rows} rows are in sessions)"
        )
        raise DataError(
            f"expected bars of sessions of {hours.name}, was {found}, where times are taken for {taken_for}; "
            + (DAYS_OF_OTHERS if daily else FITS.format(zone) if zone else FITS_NONE)
        )


def _better(sample: pl.Series, wall: pl.Series, reading: Reading, least: float) -> tuple[str, tuple[int, int]]:
    """The clock that fits best, and more than `least`, and explains all bars; an empty name if none does.

    Of those that fit as well, but for strays, the first one counts.
    """
    fits = {zone: reading.fit(_by(sample, zone)) for zone in CLOCKS}
    better = [zone for zone in sorted(CLOCKS, key=lambda zone: -sum(fits[zone])) if sum(fits[zone]) > least]
    best = next((zone for zone in better if _explains(zone, wall, reading)), "")
    if not best:
        return "", (0, 0)
    alike = (zone for zone in CLOCKS if zone in better and sum(fits[zone]) >= sum(fits[best]) - STRAYS * len(sample))
    zone = next(zone for zone in alike if zone == best or _explains(zone, wall, reading))
    return zone, fits[zone]


def _explains(zone: str, wall: pl.Series, reading: Reading) -> bool:
    utc = _by(wall, zone)
    return reading.hours_of(utc).explained and reading.shift(utc) is None


def _by(wall: pl.Series, zone: str) -> pl.Series:
    moments = in_utc(wall, zone)
    return moments.zip_with(moments.is_not_null(), wall)
