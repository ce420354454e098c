"""Refuse times that show another clock than the one by which they are read. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from helios.errors import DataError
from trading.market import timeframes
from trading.market.bars import BoolArray, IntArray, TimeArray
from trading.market.calendars import ALWAYS_OPEN, US_EQUITIES, Calendar
from trading.market.feeds.file_evidence import log_likelihood
from trading.market.feeds.file_hours import FEW, STRAYS, TradingHours, trading_hours
from trading.market.feeds.file_shifts import Shift, day_shift, shift_of
from trading.market.feeds.file_times import Moments
from trading.market.feeds.file_zones import FIXED, PLACES, fit, in_utc

SAMPLE_ROWS: Final = 10_000  # of a file of any number
LOG_ODDS: Final = 4.6  # a hundred times as likely
SHOWN: Final = 4  # clocks
DAY_S: Final = 86_400
A_FIFTH: Final = 0.2  # of the rows: so many are not left out for a clock that nobody named

TOO_THIN: Final = (
    "expected times that show their clock, was {} of {} rows in sessions of {} by UTC, and days that begin and end by "
    "no clock as those of US stocks do; --zone must name it, as --zone UTC or --zone America/New_York"
)
DAYS_OF_OTHERS: Final = "each must be named by its own date"
FITS: Final = "the clock of {} fits, and --zone names it for times without an offset"
FITS_NONE: Final = (
    f"no clock of a place and no offset shows hours of {US_EQUITIES} in them, and no calendar is known but "
    f"{US_EQUITIES} and {ALWAYS_OPEN}: --asset-class crypto is for what trades at night or around the clock, and who "
    "knows that it is a US stock names its clock"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How moments in UTC become closes of bars of a market: the same for every clock that is tried.

    `closes_of` takes what the times name, too, or "" where the file shows it; `labels` are what they may name.
    """

    closes_of: Callable[[pl.Series, str], TimeArray]
    labels: tuple[str, ...]
    hours: Calendar
    timeframe: str

    def shift(self, closes: TimeArray) -> Shift | None:
        """How far the bars lie beside the hours of the market."""
        return day_shift(closes, self.hours) if self.timeframe == "1d" else shift_of(closes, self.hours, self.timeframe)

    def hours_of(self, closes: TimeArray) -> TradingHours:
        """What the bars show of the hours of their market."""
        return trading_hours(closes, self.hours, self.timeframe)

    def explained(self, closes: TimeArray) -> bool:
        """Whether the bars are of the hours of their market."""
        return self.hours_of(closes).explained and self.shift(closes) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A way to read times: by the clock of a zone, "" as they stand, as what they name; `closes` are of a sample."""

    zone: str
    label: str
    closes: TimeArray
    likely: float


def check_clock(moments: Moments, rows: IntArray, reading: Reading, *, taken_for: str) -> None:
    """Refuse times whose bars lie beside the hours of a market day after day, whoever named their clock.

    Times within days are refused, too, where another clock explains them better, or as well where nobody named one.
    `taken_for` says in words how they are read. Raises: DataError that names what explains them, if anything does.
    """
    hours, daily, told = reading.hours, reading.timeframe == "1d", bool(moments.zone)
    closes = reading.closes_of(moments.utc, "")
    inside = hours.has_close(reading.timeframe, closes)
    if not hours.closes or (inside.all() and (daily or len(closes) > SAMPLE_ROWS)):
        return
    if not daily and _days_apart(closes):
        raise DataError(f"expected rows {reading.timeframe} apart, was a day apart; --timeframe 1d would fit")
    shift = reading.shift(closes)
    wrong = shift is not None or (not daily and reading.hours_of(closes).contradicted)
    if not wrong and (daily or (len(closes) > SAMPLE_ROWS and np.mean(~inside) <= STRAYS)):
        return
    sample = np.random.default_rng(0).permutation(len(closes)) < SAMPLE_ROWS
    clocks = [] if daily else _likeliest(moments, sample, reading)
    if not (wrong or told or daily or clocks) and _n_beside(closes, inside, reading) > max(FEW, A_FIFTH * len(closes)):
        raise DataError(TOO_THIN.format(inside.sum(), len(inside), hours.name))
    if not wrong:
        clocks = _rivals(clocks, closes, sample, reading, told=told)
        if not clocks:
            return
    if clocks and not (told and (wrong or clocks[0].zone)):
        raise DataError(_unnamed(clocks, moments.take(sample), reading, closes[sample], wrong=wrong))
    found = (
        f"bars {shift}, day after day, from row {rows[np.flatnonzero(closes == shift.since)[0]]} on"
        if shift
        else f"bars of other hours day after day ({inside.sum()} of {len(inside)} rows are in sessions)"
    )
    raise DataError(
        f"expected bars of sessions of {hours.name}, was {found}, where times are taken for {taken_for}; "
        + (DAYS_OF_OTHERS if daily else _fitting(clocks) if clocks else FITS_NONE)
    )


def _days_apart(closes: TimeArray) -> bool:
    """Whether the rows are those of days, most of them."""
    apart = np.diff(np.unique(closes))
    return len(apart) > FEW and bool(DAY_S <= np.median(apart.astype("timedelta64[s]").astype(int)) < 2 * DAY_S)


def _n_beside(closes: TimeArray, inside: BoolArray, reading: Reading) -> int:
    """How many are bars of the timeframe, and of no session."""
    whole = closes.astype(np.int64) % (timeframes.seconds(reading.timeframe) * 1_000_000) == 0
    return int((whole & ~inside).sum())


def _rivals(clocks: list[Clock], closes: TimeArray, sample: BoolArray, reading: Reading, *, told: bool) -> list[Clock]:
    """The clocks that speak against times as they are read: those that are likelier, or as likely and not told."""
    own = closes[sample]
    if any(np.array_equal(clock.closes, own) for clock in clocks):
        rivals = [clock for clock in clocks if not (told and clock.zone)]
        return [] if all(np.array_equal(clock.closes, own) for clock in rivals) else rivals
    margin = LOG_ODDS if told else -LOG_ODDS
    likely = log_likelihood(own, reading.hours, reading.timeframe)
    best = max(clocks, key=lambda clock: clock.likely, default=None)
    if best is None or best.likely < likely + margin:
        return []
    return [] if told and (best.zone in FIXED or reading.explained(closes)) else clocks


def _unnamed(clocks: list[Clock], sample: Moments, reading: Reading, own: TimeArray, *, wrong: bool) -> str:
    """What is said where nobody named a clock: the options that read the times by each of those that explain them."""
    both = len({clock.label for clock in clocks}) > 1
    elsewhere = any(clock.zone for clock in clocks)
    options = []
    for clock in clocks:
        shown = not both and np.array_equal(reading.closes_of(_by(sample, clock.zone), ""), clock.closes)
        zone = f"--zone {clock.zone or 'UTC'}" if elsewhere else ""
        options.append(" ".join(filter(None, [zone, "" if shown else f"--times {clock.label}"])))
    if len(options) > 1:
        return (
            f"expected times that show {'their clock' if elsewhere else 'what they name'}, was {len(own)} rows that "
            f"fit hours of {reading.hours.name} in {len(options)} ways alike: one of {', '.join(options[:SHOWN])}"
            f"{', ...' if len(options) > SHOWN else ''} must say which"
        )
    zone, n_rows, there, best = clocks[0].zone, len(own), _counts(own, reading), _counts(clocks[0].closes, reading)
    as_taken, other, else_ = (
        ("times in UTC, as none names an offset", zone, "UTC")
        if zone
        else ("times that name what they are taken for", f"a reading of {clocks[0].label}s", "theirs")
    )
    return (
        f"expected {as_taken}, but {other} has {best[0]} of {n_rows} rows in sessions of {reading.hours.name} and "
        f"{best[1]} in hours of trade, {else_} {there[0]} and {there[1]}; {options[0]} reads them by that clock"
        f"{', --zone UTC as they stand' if zone and not wrong else ''}"
    )


def _counts(closes: TimeArray, reading: Reading) -> tuple[int, int]:
    """How many of the bars are of sessions, and how many lie in hours of trade."""
    sessions, traded = fit(closes, reading.hours, reading.timeframe)
    return int(sessions.sum()), int(traded.sum())


def _fitting(clocks: list[Clock]) -> str:
    zones = [clock.zone for clock in clocks if clock.zone]
    return FITS.format(" or ".join(zones)) if zones else f"--times {clocks[0].label} reads them"


def _likeliest(moments: Moments, sample: BoolArray, reading: Reading) -> list[Clock]:
    """The clocks that explain the bars best, as far as any explains all of them; those that agree are one.

    A place counts that is nearly as likely, though the ends of its days may not show: of thin files they do not.
    """
    part = moments.take(sample)
    found: dict[tuple[str, bytes], Clock] = {}
    for zone in ("", *PLACES, *FIXED):
        read = _by(part, zone)
        for label in reading.labels:
            closes = reading.closes_of(read, label)
            key = (label, closes.tobytes())
            if key not in found and _counts(closes, reading)[1] >= (1 - 2 * STRAYS) * len(closes):
                likely = log_likelihood(closes, reading.hours, reading.timeframe)
                found[key] = Clock(zone=zone, label=label, closes=closes, likely=likely)

    def explained(one: Clock) -> bool:
        return reading.explained(reading.closes_of(_by(moments, one.zone), one.label))

    best = next((one for one in sorted(found.values(), key=lambda one: -one.likely) if explained(one)), None)
    nearly = [one for one in found.values() if best and one.likely > best.likely - LOG_ODDS]
    return [one for one in nearly if one.zone not in FIXED or explained(one)]


def _by(moments: Moments, zone: str) -> pl.Series:
    if not zone:
        return moments.utc
    utc = in_utc(moments.wall, zone)
    return utc.zip_with(utc.is_not_null(), moments.wall)
