"""What a stream has missed, asked for by request and stored as any download is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
from django.db import transaction
from django.utils import timezone

from helios.errors import HeliosError, error_text
from tiers.ingest.bar_problems import Problem
from tiers.ingest.minutes import Minutes
from tiers.ingest.prepare import BadRowsError, prepare
from tiers.live.bar_storage import series_of, with_higher
from tiers.live.feed import recorder
from trading.enums import Timeframe
from trading.market import gaps
from trading.market import write as market
from trading.market.bars import FIELDS, Bars, BarTable, BarValues, concatenated
from trading.market.calendars import Calendar, calendar
from trading.market.coverage import cover
from trading.market.lots import USUAL_CALENDARS
from trading.market.timeframes import seconds
from trading.market.timestamps import MINUTE, microseconds, moment, stamp, utc, utc_times
from trading.models import MarketGap, MarketOHLC
from trading.venues.base import MarketData, Pair

SKEWED_S = 1.0  # a clock that differs by less is right
Results = dict[tuple[str, str], market.UpsertResult]
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was stored, the bars by close in microseconds, and up to where all of them are known.

    `bad` are the venue's bars that broke a rule, which are left out, as are those of hours in which the market is
    closed, `outside`. `silent` is what the venue tells nothing of; where `rows` follow, it keeps nothing of it.
    """

    until: datetime
    stored: Results = field(default_factory=dict)
    rows: dict[int, BarValues] = field(default_factory=dict)
    bad: tuple[Problem, ...] = ()
    outside: int = 0
    silent: gaps.Gap | None = None

    @property
    def unusable(self) -> list[int]:
        """The closes, in microseconds, of minutes that no higher bar may hold; silence without an end may be quiet."""
        kept_nothing = self.silent if self.rows or self.bad else None
        span = (kept_nothing.after, kept_nothing.until) if kept_nothing else (self.until, self.until)
        first, last = map(microseconds, span)
        bad = [microseconds(each.bar_ts) for each in self.bad if each.bar_ts is not None]
        return [*bad, *range(first + MINUTE, last + MINUTE, MINUTE)]


def last_minute(venue: MarketData, say: Callable[[str], object]) -> datetime:
    """The last minute that is over by our clock and by the venue's, where that is known; `say` is told what differs."""
    try:
        skew_s = venue.skew_s() or 0.0
    except HeliosError as error:
        skew_s = 0.0
        say(f"{venue.name}'s clock is not known: {error_text(error)}")
    if abs(skew_s) > SKEWED_S:
        say(f"{venue.name}'s clock is {abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} this machine's")
    return (timezone.now() + timedelta(seconds=min(skew_s, 0.0))).replace(second=0, microsecond=0)


def fetch(
    venue: MarketData, pair: Pair, after: datetime, until: datetime, *, now: datetime, timeframe: str = "1m"
) -> Fetched:
    """Store the bars of (after, until] with the higher ones made of them, and note what the venue does not have.

    `after` is a full hour, so that no higher bar is made of a part. The newest minutes may not have reached the venue's
    answers yet: known is what it spoke of, and what is long over. Nor is known what lies before its first bar, where it
    keeps nothing of before: it may tell its newest bars only. Raises: as the venue's requests.
    """
    told = list(venue.bars(pair, timeframe, after, until))
    settled = (now - timedelta(seconds=venue.settled_s)).replace(second=0, microsecond=0)
    spoken = max((close for _, close in told if close is not None), default=after)
    known = max(spoken, min(until, settled))
    hours = calendar(USUAL_CALENDARS[pair.asset_class])
    tables = [table.take(hours.has_close(timeframe, table.ts)) if hours.closes else table for table, _ in told]
    outside = sum(table.n_rows for table, _ in told) - sum(table.n_rows for table in tables)
    tables = [table for table in tables if table.n_rows]
    begin, told_of = after, concatenated(tables) if tables else None
    if told_of is not None:
        begin = _kept_from(venue, pair, told_of, hours, after)
    elif spoken == after:
        begin = known
    silent = _silence(venue, pair, timeframe, after, begin) if begin > after else None
    found = Fetched(until=known)
    with transaction.atomic():
        if told_of is not None:
            found = _store(venue, pair, told_of, hours, (begin, known), until)
        left = [*_without(found.bad, timeframe), *([silent] if silent is not None else [])]
        gaps.note(pair.symbol, timeframe, after, known, left)
    return replace(found, outside=outside, silent=silent)


def _store(venue: MarketData, pair: Pair, told: BarTable, hours: Calendar, traded: Span, until: datetime) -> Fetched:
    try:
        prepared = prepare(told, hours.name, source=pair.symbol, drop_invalid=True, not_after=until, traded=traded)
    except BadRowsError as error:  # not one of them can be used
        return Fetched(until=traded[1], bad=error.problems)
    bad = tuple(each for each in prepared.problems if each.rejects)
    series = series_of(prepared, pair.asset_class, venue.source(pair), lot=pair.lot)
    market.lock_bars([series.batches[0]])
    stored = market.import_series([with_higher(series, prepared, whole=True)[0]])
    return Fetched(until=traded[1], stored=stored, rows=_rows(prepared.batches[0]), bad=bad)


def _kept_from(venue: MarketData, pair: Pair, told: BarTable, hours: Calendar, after: datetime) -> datetime:
    """`after`, or the beginning of the first bar that was told, where the venue keeps nothing of before."""
    begin = utc(told.ts[0]) - timedelta(seconds=seconds(told.timeframe))
    due = begin > after and len(hours.grid(told.timeframe, stamp(after), stamp(begin)))
    return begin if due and not venue.reaches(pair, told.timeframe, after) else after


def _silence(venue: MarketData, pair: Pair, timeframe: str, after: datetime, until: datetime) -> gaps.Gap | None:
    """From the first bar of (after, until] that is due and not stored to the last one; None without any."""
    stored = MarketOHLC.objects.filter(symbol=pair.symbol, timeframe=timeframe, bar_ts__gt=after, bar_ts__lte=until)
    have = np.array([stamp(ts) for ts in stored.values_list("bar_ts", flat=True)], "datetime64[us]")
    due = calendar(USUAL_CALENDARS[pair.asset_class]).grid(timeframe, stamp(after), stamp(until))
    lacking = utc_times(np.setdiff1d(due, have, assume_unique=True))
    if not lacking:
        return None
    first = max(after, lacking[0] - timedelta(seconds=seconds(timeframe)))
    return gaps.Gap(after=first, until=lacking[-1], reason=f"{venue.name} tells nothing of it")


def _without(bad: Sequence[Problem], timeframe: str) -> list[gaps.Gap]:
    """The times of bars that broke a rule; of one whose time is none nothing can be said."""
    length = timedelta(seconds=seconds(timeframe))
    return [
        gaps.Gap(after=each.bar_ts - length, until=each.bar_ts, reason=f"its bar broke a rule: {each.detail}")
        for each in bad
        if each.bar_ts is not None
    ]


def repair(venue: MarketData, pair: Pair, after: int, until: int, *, now: int) -> Fetched:
    """The minutes of (after, until], in microseconds; stored, noted to be known, and told where they broke a rule."""
    first = moment(after).replace(minute=0, second=0, microsecond=0)
    found = fetch(venue, pair, first, moment(until), now=moment(now))
    known = max(moment(after), found.until)
    cover({pair.symbol: microseconds(known)})
    recorder.tell_bad(found.bad)
    return replace(found, until=known)


def resumed(symbol: str, until: datetime, *, grace: int, of_trades: bool, tick: float = 0.0) -> Minutes:
    """What is stored of a symbol whose minutes are known up to there: those of its hour, which higher bars hold."""
    hour = until.replace(minute=0, second=0, microsecond=0)
    of_hour = {"symbol": symbol, "timeframe": Timeframe.M1.value}
    stored = MarketOHLC.objects.filter(**of_hour, bar_ts__gt=hour, bar_ts__lte=until).values_list("bar_ts", *FIELDS)
    rows: dict[int, BarValues] = {microseconds(bar_ts): (o, h, low, c, v) for bar_ts, o, h, low, c, v in stored}
    lacking = MarketGap.objects.filter(**of_hour, until__gt=hour, until__lte=until).values_list("until", flat=True)
    before = MarketOHLC.objects.filter(symbol=symbol, timeframe=Timeframe.M1, bar_ts__lte=until).order_by("-bar_ts")
    last = before.values_list("close", flat=True).first()
    made = Minutes(symbol=symbol, until=microseconds(hour), grace=grace, of_trades=of_trades, tick=tick, last=last)
    made.answered(microseconds(hour), microseconds(until), rows, [microseconds(end) for end in lacking])
    return made


def _rows(bars: Bars) -> dict[int, BarValues]:
    columns = [getattr(bars, name)[:, 0].tolist() for name in FIELDS]
    return dict(zip(bars.ts.astype("datetime64[us]").astype(int).tolist(), zip(*columns, strict=True), strict=True))
