"""A whole file or data set on its way into storage: judged, and with its higher timeframes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

import numpy as np

from tiers.contracts import (
    FIELDS,
    Action,
    Bars,
    BarTable,
    Calendar,
    TimeArray,
    Trades,
    calendar,
    concatenated,
    distinct,
    split,
    stamp,
    timeframes,
    union,
    utc,
)
from tiers.contracts.errors import DataError
from tiers.ingest.aggregate import Aggregated, aggregate, bucket_close, targets
from tiers.ingest.bar_problems import Code, Problem
from tiers.ingest.spacing import check as check_spacing
from tiers.ingest.trades import check_trades, judge, minute_bars
from tiers.ingest.validate import longest_pause, validate

ROUNDING = 1e-9  # of a volume that is added up in another order
Span = tuple[datetime, datetime]


class BadRowsError(DataError):
    """Rows that break a rule: the `first` of the `problems`, and how many rows are without one, `n_good`."""

    def __init__(self, source: str, problems: tuple[Problem, ...], *, n_good: int) -> None:
        self.problems, self.first, self.n_good = problems, problems[0], n_good
        others = sum(problem.n_rows for problem in problems) - 1
        more = f" ({others} more rows break a rule)" if others else ""
        nothing = "" if n_good else f"{source} holds no bar that keeps the rules; "
        super().__init__(f"{nothing}{source} {self.first.place_and_detail}{more}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Clean bars of one symbol: `batches` begins with the base timeframe, the higher ones follow.

    `traded` is the time, (after, until], of which all trades are known: a bar that is missing in it is one without a
    trade, and a higher bar lacks nothing. `stored` are bars of the base timeframe that are stored around these,
    `actions` the splits and dividends of the symbol that are stored.
    """

    symbol: str
    batches: tuple[Bars, ...]
    problems: tuple[Problem, ...]
    traded: Span | None = None
    stored: BarTable | None = None
    actions: tuple[Action, ...] = ()

    @property
    def dropped_rows(self) -> int:
        """Rows that broke a rule."""
        return sum(problem.n_rows for problem in self.problems if problem.rejects)

    @property
    def missing_bars(self) -> int:
        """Bars of the base timeframe that the calendar expects and the data lack."""
        return sum(problem.missing_bars for problem in self.problems if problem.code is Code.GAP)


def prepare(
    table: BarTable,
    calendar_name: str,
    *,
    source: str,
    drop_invalid: bool = False,
    not_after: datetime | None = None,
    traded: Span | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
    n_rows: Mapping[int, int] = MappingProxyType({}),
) -> Prepared:
    """Validate one bar and more, and add the complete bars of higher timeframes that have closed by the last one.

    Rows that break a rule are `BadRowsError` naming `source`, row and column, unless `drop_invalid`; rows that
    do not lie a timeframe apart are a `DataError` always, unless all trades of their time are known: `Prepared.traded`.
    The bar that forms at `not_after`, and closes later, is left out with a note; any further one breaks a rule.
    `columns` has the source's names of a bar's parts, `n_rows` of how many of its rows a bar is made, by the first.
    """
    hours = calendar(calendar_name)
    if traded is None:
        check_spacing(table, hours, source=source)
    table, forming = _without_forming(table, not_after)
    judged = validate(table, hours, not_after=not_after)
    found = judged.problems
    if traded is not None:
        gaps = [one for one in found if one.code is Code.GAP]
        found = (*(one for one in found if one.code is not Code.GAP), *longest_pause(gaps))
    counted = (replace(each, n_rows=n_rows.get(each.row, 1)) for each in found) if n_rows else found
    judged = replace(judged, problems=_named(counted, columns))
    clean = judged.table
    if not clean.n_rows or (judged.rejected and not drop_invalid):
        raise BadRowsError(source, (*judged.rejected, *forming), n_good=clean.n_rows)
    base = Prepared(
        symbol=table.symbol,
        batches=(union([clean], table.timeframe),),
        problems=(*forming, *judged.problems),
        traded=traded,
    )
    return _with_higher(base, _higher(base, clean, hours))


def _named(problems: Iterable[Problem], columns: Mapping[str, str]) -> tuple[Problem, ...]:
    return tuple(replace(each, column=columns.get(each.column, each.column)) for each in problems)


def bars_of_trades(
    trades: Trades,
    *,
    source: str,
    drop_invalid: bool,
    not_after: datetime,
    columns: Mapping[str, str],
) -> tuple[BarTable, dict[int, int], Span, tuple[Problem, ...]]:
    """The 1m bars of a source's trades, of how many of them each is by the first's row, their time, and what was wrong
    with the other trades.

    Trades that break a rule are `BadRowsError`, unless `drop_invalid`. The minute of the first trade and that of the
    last hold what the source has of them. Raises: DataError, too, where the rows are no trades.
    `columns` has the source's names of a trade's parts.
    """
    check_trades(trades, source=source)
    judged = judge(trades, not_after=not_after)
    judged = replace(judged, problems=_named(judged.problems, columns))
    if not judged.trades.n_trades or (judged.rejected and not drop_invalid):
        raise BadRowsError(source, judged.rejected, n_good=judged.trades.n_trades)
    bars, n_trades = minute_bars(judged.trades)
    n_rows = dict(zip(bars.row.tolist(), n_trades.tolist(), strict=True))
    return bars, n_rows, (utc(bars.ts[0]) - timedelta(minutes=1), utc(bars.ts[-1])), judged.problems


def partly_filled(prepared: Prepared, calendar_name: str) -> TimeArray:
    """The closes of the longest higher bars that hold bars of the base timeframe, and lack some."""
    (base,) = split(prepared.batches[0])
    if not (names := targets(base.timeframe)):
        return base.ts[:0]
    closes = distinct(bucket_close(base.ts, names[-1]))
    made = _made(base, names[-1], calendar(calendar_name), utc(closes[-1]), prepared)
    return np.setdiff1d(closes, made.whole.ts, assume_unique=True)


def completed(prepared: Prepared, calendar_name: str, stored: BarTable) -> Prepared:
    """The same with higher bars that are made of `stored` base bars, too; where both have a bar, the new one counts."""
    (base,) = split(prepared.batches[0])
    return _with_higher(prepared, _higher(prepared, merged(base, stored), calendar(calendar_name)))


def with_whole_ends(prepared: Prepared, calendar_name: str, stored: BarTable) -> Prepared:
    """The same with the first and the last minute of trades as they are `stored`, where these have as much volume.

    The source may begin or end within a minute that another one has as a whole.
    """
    (base,) = split(prepared.batches[0])
    _, mine, theirs = np.intersect1d(base.ts[[0, -1]], stored.ts, return_indices=True)
    part = base.take(np.array([0, base.n_rows - 1])[mine])
    whole = stored.take(theirs)
    differs = np.any([getattr(whole, name) != getattr(part, name) for name in FIELDS], axis=0)
    kept = differs & (whole.volume >= part.volume * (1 - ROUNDING))
    if not kept.any():
        return prepared
    bars = merged(whole.take(kept), base)
    notes = [_kept(bars.symbol, utc(ts)) for ts in whole.ts[kept]]
    found = replace(prepared, batches=(union([bars], base.timeframe),), problems=(*prepared.problems, *notes))
    return completed(found, calendar_name, whole)


def _kept(symbol: str, close: datetime) -> Problem:
    detail = f"the minute of {close:%Y-%m-%d %H:%M} UTC stays as it is stored: the file begins or ends in it"
    return Problem(code=Code.KEPT, symbol=symbol, bar_ts=close, detail=detail)


def merged(base: BarTable, stored: BarTable) -> BarTable:
    """The bars of both by time; where both have one, that of `base` counts."""
    both = concatenated([base, stored.take(~np.isin(stored.ts, base.ts, assume_unique=True))])
    return both.take(np.argsort(both.ts))


def _higher(prepared: Prepared, among: BarTable, hours: Calendar) -> list[Aggregated]:
    """The higher bars that hold a bar of the base, made of all those `among` which it lies."""
    base = prepared.batches[0]
    parts = {
        name: among.take(np.isin(bucket_close(among.ts, name), bucket_close(base.ts, name)))
        for name in targets(base.timeframe)
    }
    until = utc(among.ts[-1]) if prepared.traded is None else max(utc(among.ts[-1]), prepared.traded[1])
    return [_made(part, name, hours, until, prepared) for name, part in parts.items()]


def _made(part: BarTable, name: str, hours: Calendar, until: datetime, prepared: Prepared) -> Aggregated:
    """Bars of a higher timeframe; those within the time of all trades have all that there is, but what broke a rule."""
    made = aggregate(part, name, hours, until=until)
    if prepared.traded is None:
        return made
    closes = made.table.ts
    begins = closes - np.timedelta64(timeframes.seconds(name), "s")
    after, last = hours.index(part.timeframe, np.array([*map(stamp, prepared.traded)]))
    at = [stamp(each.bar_ts) for each in prepared.problems if each.rejects and each.bar_ts is not None]
    minutes = bucket_close(np.array(at, "datetime64[us]"), part.timeframe)
    bad = minutes[hours.has_close(part.timeframe, minutes)]  # what lies outside of sessions is no part of a bar
    whole = (hours.index(part.timeframe, begins) >= after) & (hours.index(part.timeframe, closes) <= last)
    whole &= ~np.isin(closes, bucket_close(bad, name))
    return replace(made, due=np.where(whole, made.seen, made.due))


def _with_higher(prepared: Prepared, higher: Iterable[Aggregated]) -> Prepared:
    made = list(higher)
    return replace(
        prepared,
        batches=(
            prepared.batches[0],
            *(union([one.whole], one.whole.timeframe) for one in made if one.complete.any()),
        ),
        problems=(
            *(problem for problem in prepared.problems if problem.code is not Code.INCOMPLETE),
            *(problem for one in made for problem in one.problems()),
        ),
    )


def _without_forming(table: BarTable, now: datetime | None) -> tuple[BarTable, tuple[Problem, ...]]:
    """The rows without the one bar that has begun and not closed; exchanges hand it out with the others."""
    if now is None:
        return table, ()
    begun = now + timedelta(seconds=timeframes.seconds(table.timeframe))
    forming = (table.ts > stamp(now)) & (table.ts <= stamp(begun))
    return table.take(~forming), tuple(_forming(table, int(row), now) for row in np.flatnonzero(forming))


def _forming(table: BarTable, row: int, now: datetime) -> Problem:
    closes = utc(table.ts[row])
    detail = f"left out, since its bar closes at {closes:%Y-%m-%d %H:%M} UTC and it was {now:%Y-%m-%d %H:%M}"
    return Problem(code=Code.FORMING, symbol=table.symbol, row=int(table.row[row]), bar_ts=closes, detail=detail)
