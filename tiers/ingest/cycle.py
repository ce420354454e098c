"""One cycle of the ingest stage: judge the newest bars, close the higher timeframes that end with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from tiers.contracts import ALWAYS_OPEN, Bars, BarTable, Calendar, calendar, stamp, timeframes, union, utc
from tiers.contracts.errors import DataError
from tiers.ingest.aggregate import aggregate, bucket_close, targets
from tiers.ingest.bar_problems import Problem
from tiers.ingest.validate import Validated, nothing_to_tell, validate


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestResult:
    """What one cycle may use and has to save.

    `accepted` holds the base bars in (since, bar_ts]; `higher` the bars of higher timeframes that closed in
    it, one `Bars` a timeframe that has any. Symbols keep their order in both.
    """

    bar_ts: datetime
    accepted: Bars
    higher: tuple[Bars, ...]
    problems: tuple[Problem, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The symbols without a bar at `bar_ts`."""
        newest = self.accepted.ts[-1:] == stamp(self.bar_ts)
        if not newest.any():
            return self.accepted.symbols
        gone = np.isnan(self.accepted.close[-1])
        return tuple(symbol for symbol, lacks in zip(self.accepted.symbols, gone, strict=True) if lacks)


def window_start(timeframe: str, bar_ts: datetime) -> datetime:
    """The time after which `run` needs base bars at `bar_ts`: where the longest higher bar began."""
    higher = targets(timeframe)
    if not higher:
        return bar_ts - timedelta(seconds=timeframes.seconds(timeframe) / 2)
    end = utc(bucket_close(np.array([stamp(bar_ts)]), higher[-1])[0])
    return end - timedelta(seconds=timeframes.seconds(higher[-1]))


def run(
    rows: Sequence[BarTable],
    *,
    timeframe: str,
    bar_ts: datetime,
    calendars: Mapping[str, str] | None = None,
    since: datetime | None = None,
) -> IngestResult:
    """Validate the base bars of each symbol and aggregate what closed in (since, bar_ts].

    `rows` holds one table a symbol with its bars after `window_start(timeframe, bar_ts)`; a table may be
    empty. The default of `since` takes in this one bar; after a pause it is the last bar that was ingested
    (then `rows` must reach back to `window_start` of that bar). `calendars` names the calendar of a symbol,
    24/7 where absent. Bars later than `bar_ts` are refused. Raises `DataError` when a table is of another
    timeframe.
    """
    named = calendars or {}
    since = since or bar_ts - timedelta(seconds=timeframes.seconds(timeframe) / 2)
    ending = [name for name in targets(timeframe) if _ends_within(name, since, bar_ts)]
    accepted: list[BarTable] = []
    higher: dict[str, list[BarTable]] = {name: [] for name in ending}
    problems: list[Problem] = []
    for one in rows:
        _check(one, timeframe)
    hours_of = {one.symbol: calendar(named.get(one.symbol, ALWAYS_OPEN)) for one in rows}
    for judged in _judged(rows, hours_of, since, bar_ts):
        problems += judged.problems
        accepted.append(_after(judged.table, since))
        for name in ending:
            closed = aggregate(judged.table, name, hours_of[judged.table.symbol], until=bar_ts, since=since)
            higher[name].append(closed.whole)
            problems += closed.problems()
    bars = (union(tables, name) for name, tables in higher.items())
    return IngestResult(
        bar_ts=bar_ts,
        accepted=union(accepted, timeframe),
        higher=tuple(one for one in bars if one.n_bars),
        problems=tuple(problems),
    )


def _judged(
    rows: Sequence[BarTable], hours_of: Mapping[str, Calendar], since: datetime, bar_ts: datetime
) -> Iterator[Validated]:
    """Each table as `validate` judges it. Those of one calendar are asked together first: mostly all is well."""
    expected = since, bar_ts
    by_hours = {hours: [one for one in rows if hours_of[one.symbol] == hours] for hours in set(hours_of.values())}
    clean = {
        hours: nothing_to_tell(tables, hours, expected=expected, not_after=bar_ts) for hours, tables in by_hours.items()
    }
    for one in rows:
        if clean[hours := hours_of[one.symbol]]:
            yield Validated(table=one, problems=())
        else:
            yield validate(one, hours, expected=expected, not_after=bar_ts)


def _after(table: BarTable, since: datetime) -> BarTable:
    new = np.asarray(table.ts > stamp(since))
    return table if new.all() else table.take(new)


def _ends_within(timeframe: str, since: datetime, until: datetime) -> bool:
    step = timeframes.seconds(timeframe)
    return until.timestamp() // step > since.timestamp() // step


def _check(table: BarTable, timeframe: str) -> None:
    if table.timeframe != timeframe:
        raise DataError(f"bars of {table.symbol} must be {timeframe}, were {table.timeframe}")
