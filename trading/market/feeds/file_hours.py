"""Whether bars are of the hours in which US stocks trade: in sessions, or before and after them, too. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from trading.market import timeframes
from trading.market.bars import IntArray, TimeArray
from trading.market.calendars import Calendar
from trading.market.feeds.file_evidence import local_minutes, of_sessions
from trading.market.feeds.file_zones import AFTER, BEFORE, CLOSING, EXTENDED, OPENING

STRAYS: Final = 0.02  # of the rows: so few of them are evidence of nothing
FEW: Final = 3  # rows, likewise
A_LARGE_SHARE: Final = 0.1  # of the rows
DAYS, BARS_A_DAY = 3, 5
A_SEASON: Final = 5  # days of summer or of winter time; fewer say nothing, unless there are no others
HALF: Final = 0.5  # of the days
MOSTLY: Final = 0.6  # of the days: they begin or end at that very time, and not whenever somebody trades
SELDOM: Final = 0.01  # of the days
A_LITTLE: Final = 15  # minutes: thin stocks begin later and end earlier, and auctions end later
LONGEST: Final = 9 * 60  # no exchange is open for longer, in bars of whole hours
HALF_AN_HOUR: Final = 30
ROWS_A_HALF_HOUR, A_HOLE = 20, 0.1  # of the session at least, and how small a part of theirs is none


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How days of a season begin, or end: with a session, with the hours beside it, or as no day of US stocks does.

    `regular` says that most of them do so at the same `minute` of a day in New York, `odd` that no bar of a session or
    of the hours beside it begins or ends there.
    """

    minute: int
    of: Literal["session", "extended", ""]
    regular: bool
    odd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingHours:
    """What bars show of the hours of their market, by a clock."""

    outside: float  # the part of the rows that lies in no hours of trade
    outside_sessions: bool  # rows beside sessions come day after day, or on days that have none
    enough: bool  # to tell how days begin and end: there may be one that is unfinished, and days of a bar or two
    seasons: tuple[tuple[End, End], ...]  # how days begin and end
    complete: bool  # no half hour of the session is without bars, as a pause at noon is

    @property
    def explained(self) -> bool:
        """Whether nearly all bars lie in hours of trade, and their days begin and end as those of US stocks do.

        By summer and by winter time at the same minutes, as they would not by a clock that has no summer.
        """
        usual = [{end.minute for end in ends if end.regular} for ends in zip(*self.seasons, strict=True)]
        steady = all(len(minutes) <= 1 for minutes in usual)
        return self.outside <= STRAYS and self.complete and steady and all(map(_of_stocks, self.seasons))

    @property
    def contradicted(self) -> bool:
        """Whether bars lie beside sessions day after day that are not those of the hours before and after them."""
        of_others = not self.complete or any(end.odd for season in self.seasons for end in season)
        return self.outside_sessions and (self.outside > A_LARGE_SHARE or (of_others and self.enough))


def _of_stocks(season: tuple[End, End]) -> bool:
    begin, end = season
    alone = begin.of == end.of == "session"
    longer = end.minute - begin.minute > LONGEST or not (begin.regular and end.regular)
    return alone or (bool(begin.of and end.of) and longer)


def trading_hours(closes: TimeArray, hours: Calendar, timeframe: str) -> TradingHours:
    """What (n,) closes in UTC show of the hours of their market."""
    sessions, step = hours.has_close(timeframe, closes), timeframes.seconds(timeframe) // 60
    frame = local_minutes(closes).with_columns(
        beside=~sessions, traded=pl.col("minute").is_between(EXTENDED[0], EXTENDED[1] + step, closed="right")
    )
    days = (
        frame.group_by("day")
        .agg(
            first=pl.col("minute").min(),
            last=pl.col("minute").max(),
            n_beside=pl.col("beside").sum(),
            n_traded=pl.col("traded").sum(),
            summer=pl.col("summer").first(),
        )
        .sort("day")
    )
    is_session = of_sessions(days["day"], hours)
    n_beside, n_traded = (days[of].to_numpy() for of in ("n_beside", "n_traded"))
    day_after_day = n_beside.sum() > max(FEW, STRAYS * len(closes)) and (n_beside > 0).mean() >= HALF
    closed = n_traded[~is_session]
    n_closed = int(closed.sum() - closed.max(initial=0))  # one day on which the exchange was closed may be a mistake
    return TradingHours(
        outside=1 - (int(n_traded.sum()) - n_closed) / len(closes),
        outside_sessions=bool(day_after_day or n_closed > STRAYS * len(closes)),
        enough=days.height >= DAYS and len(closes) >= BARS_A_DAY * days.height,
        seasons=tuple(_ends(season, step) for season in _seasons(days.filter(pl.Series(is_session)))),
        complete=_is_complete(frame["minute"].to_numpy()[sessions], step),
    )


def _seasons(days: pl.DataFrame) -> list[pl.DataFrame]:
    found = days.partition_by("summer")
    return [season for season in found if season.height >= A_SEASON] or found


def _ends(season: pl.DataFrame, step: int) -> tuple[End, End]:
    """How a season's days begin and end, by the first and the last close of each."""
    first, begins = _usual(season["first"], SELDOM)
    last, ends = _usual(season["last"], 1 - SELDOM)
    opening = OPENING // step * step  # a session's first bar begins at a multiple of its length
    begin, end = first - step, last
    return (
        _end(begin, opening - begin, begin <= BEFORE[-1], BEFORE, regular=begins, step=step),
        _end(end, end - CLOSING, end >= AFTER[0], AFTER, regular=ends, step=step),
    )


def _end(minute: int, apart: int, extended: bool, usual: tuple[int, ...], *, regular: bool, step: int) -> End:
    """`apart` is by how many minutes a day begins before sessions, or ends after them."""
    session = abs(apart) <= A_LITTLE
    known = extended and (not regular or any(abs(minute - each) <= A_LITTLE for each in usual))
    of: Literal["session", "extended", ""] = "session" if session else "extended" if known else ""
    odd = regular and not session and not extended and abs(apart) > step
    return End(minute=minute, of=of, regular=regular, odd=odd)


def _usual(minutes: pl.Series, quantile: float) -> tuple[int, bool]:
    """The minute of most days, or else the outermost that is no stray."""
    values, counts = np.unique(minutes.to_numpy(), return_counts=True)
    if counts.max() >= MOSTLY * len(minutes):
        return int(values[counts.argmax()]), True
    outermost = minutes.quantile(quantile, "nearest")
    return int(outermost or 0), False


def _is_complete(minutes: IntArray, step: int) -> bool:
    """Whether each half hour of a session has bars, where there are enough to tell."""
    length = max(step, HALF_AN_HOUR)
    counts = np.bincount((minutes - 1) // length, minlength=CLOSING // length)[OPENING // length :]
    return counts.mean() < ROWS_A_HALF_HOUR or bool(counts.min() >= A_HOLE * counts.mean())
