"""What a stream has missed, asked for by request and stored as any download is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db import transaction

from tiers.ingest.bar_problems import Problem
from tiers.ingest.minutes import Minutes, Row
from tiers.ingest.prepare import BadRowsError, prepare
from tiers.live.bar_storage import series_of, stored_beside
from tiers.live.feed import recorder
from trading.enums import Timeframe
from trading.market import gaps
from trading.market import write as market
from trading.market.bars import FIELDS, Bars, BarTable, concatenated
from trading.market.calendars import Calendar, calendar
from trading.market.lots import USUAL_CALENDARS
from trading.market.timeframes import seconds
from trading.market.timestamps import microseconds, moment, stamp
from trading.models import MarketGap, MarketOHLC
from trading.venues.base import MarketData, Pair

Results = dict[tuple[str, str], market.UpsertResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was stored, the bars by close in microseconds, and up to where all of them are known.

    `bad` are the venue's bars that broke a rule, which are left out, as are those of hours in which the market is
    closed, `outside`.
    """

    until: datetime
    stored: Results = field(default_factory=dict)
    rows: dict[int, Row] = field(default_factory=dict)
    bad: tuple[Problem, ...] = ()
    outside: int = 0


def fetch(
    venue: MarketData, pair: Pair, after: datetime, until: datetime, *, now: datetime, timeframe: str = "1m"
) -> Fetched:
    """Store the bars of (after, until] with the higher ones made of them, and note what the venue does not have.

    `after` is a full hour, so that no higher bar is made of a part. The newest minutes may not have reached the venue's
    answers yet: known is what it spoke of, and what is long over. Raises: as the venue's requests.
    """
    told = list(venue.bars(pair, timeframe, after, until))
    settled = (now - timedelta(seconds=venue.settled_s)).replace(second=0, microsecond=0)
    spoken = max((close for _, close in told if close is not None), default=after)
    known = max(spoken, min(until, settled))
    hours = calendar(USUAL_CALENDARS[pair.asset_class])
    tables = [table.take(hours.has_close(timeframe, table.ts)) if hours.closes else table for table, _ in told]
    outside = sum(table.n_rows for table, _ in told) - sum(table.n_rows for table in tables)
    tables = [table for table in tables if table.n_rows]
    if not tables:
        silent = spoken == after < known and len(hours.grid(timeframe, stamp(after), stamp(known)))
        left = [gaps.Gap(after=after, until=known, reason=f"{venue.name} tells nothing of it")] if silent else []
        with transaction.atomic():
            gaps.note(pair.symbol, timeframe, after, known, left)
        return Fetched(until=known, outside=outside)
    return replace(_store(venue, pair, concatenated(tables), hours, (after, known), until), outside=outside)


def _store(
    venue: MarketData, pair: Pair, told: BarTable, hours: Calendar, known: tuple[datetime, datetime], until: datetime
) -> Fetched:
    try:
        prepared = prepare(told, hours.name, source=pair.symbol, drop_invalid=True, not_after=until, traded=known)
    except BadRowsError as error:  # not one of them can be used
        bad = error.problems
        with transaction.atomic():
            gaps.note(pair.symbol, told.timeframe, *known, _without(bad, told.timeframe))
        return Fetched(until=known[1], bad=bad)
    bad = tuple(each for each in prepared.problems if each.rejects)
    series = series_of(prepared, pair.asset_class, venue.source(pair), lot=pair.lot)
    with transaction.atomic():
        market.lock_bars([series.batches[0]])
        stored = market.import_series([stored_beside(series, prepared, whole=True)[0]])
        gaps.note(pair.symbol, told.timeframe, *known, _without(bad, told.timeframe))
    return Fetched(until=known[1], stored=stored, rows=_rows(prepared.batches[0]), bad=bad)


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
    recorder.cover({pair.symbol: microseconds(known)})
    recorder.tell_bad(found.bad)
    return replace(found, until=known)


def resumed(symbol: str, until: datetime, *, grace: int, of_trades: bool) -> Minutes:
    """What is stored of a symbol whose minutes are known up to there: those of its hour, which higher bars hold."""
    hour = until.replace(minute=0, second=0, microsecond=0)
    of_hour = {"symbol": symbol, "timeframe": Timeframe.M1.value}
    stored = MarketOHLC.objects.filter(**of_hour, bar_ts__gt=hour, bar_ts__lte=until).values_list("bar_ts", *FIELDS)
    rows: dict[int, Row] = {microseconds(bar_ts): (o, h, low, c, v) for bar_ts, o, h, low, c, v in stored}
    lacking = MarketGap.objects.filter(**of_hour, until__gt=hour, until__lte=until).values_list("until", flat=True)
    made = Minutes(symbol=symbol, until=microseconds(hour), grace=grace, of_trades=of_trades)
    made.asked(microseconds(hour), microseconds(until), rows, [microseconds(end) for end in lacking])
    return made


def back(now: datetime, days: float) -> datetime:
    """The full hour so many days ago."""
    return (now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)


def _rows(bars: Bars) -> dict[int, Row]:
    columns = [getattr(bars, name)[:, 0].tolist() for name in FIELDS]
    return dict(zip(bars.ts.astype("datetime64[us]").astype(int).tolist(), zip(*columns, strict=True), strict=True))
