"""Turn the rows of a source into clean bars and a list of what was wrong with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from tiers.contracts import (
    FIELDS,
    PRICES,
    BarTable,
    BoolArray,
    Calendar,
    FloatArray,
    columns_of,
    concatenated,
    stamp,
    timeframes,
    utc,
)
from tiers.ingest.bar_problems import Code, Problem

FIRST_YEAR = np.datetime64("1900-01-01", "us")
FAR_YEARS = 10  # no market stands still for so long


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """`table` rises strictly in time and holds only bars that keep every rule.

    `problems` come by row, then the gaps by time.
    """

    table: BarTable
    problems: tuple[Problem, ...]

    @property
    def rejected(self) -> tuple[Problem, ...]:
        """The problems that cost a bar."""
        return tuple(problem for problem in self.problems if problem.rejects)


def validate(
    table: BarTable,
    calendar: Calendar,
    *,
    expected: tuple[datetime, datetime] | None = None,
    not_after: datetime | None = None,
) -> Validated:
    """Check prices, volume, times, order, duplicates and gaps of one symbol's bars.

    Each bad row is reported once, for the first rule that it breaks. Of two good rows with one time the later
    row wins: a source that repeats a bar corrects it. Gaps are looked for between the first and the last bar,
    or over `expected` = (after, last] when given. Rows later than `not_after` are refused: not closed yet.
    """
    bad = np.zeros(table.n_rows, dtype=bool)
    problems: list[Problem] = []
    for mask, problem_at in _findings(table, calendar, not_after):
        if mask.any():
            problems += [problem_at(int(row)) for row in np.flatnonzero(mask & ~bad)]
            bad |= mask
    good = table.take(~bad) if bad.any() else table
    ordered, notes = _in_order(good)
    problems = sorted(problems + notes, key=lambda problem: problem.row)
    return Validated(table=ordered, problems=(*problems, *gaps(ordered, calendar, expected)))


def nothing_to_tell(
    tables: Sequence[BarTable], calendar: Calendar, *, expected: tuple[datetime, datetime], not_after: datetime
) -> bool:
    """Whether `validate` would hand back each of these tables as it is, with no problem: all are asked at once."""
    whole, column = concatenated(tables), columns_of(tables)
    if not keep_the_rules(whole, column, calendar, not_after=not_after):
        return False
    after, last = map(stamp, expected)
    inside = column[(whole.ts > after) & (whole.ts <= last)]
    begin, end = calendar.index(whole.timeframe, np.array([after, last]))
    return bool((np.bincount(inside, minlength=len(tables)) == end - begin).all())


def keep_the_rules(
    whole: BarTable, column: npt.NDArray[np.intp], calendar: Calendar, *, not_after: datetime | None = None
) -> bool:
    """Whether each of several `concatenated` tables rises in time and breaks no rule; `column` is that of each row."""
    if any(mask.any() for mask, _ in _findings(whole, calendar, not_after)):
        return False
    return bool(np.all((whole.ts[1:] > whole.ts[:-1]) | (column[1:] != column[:-1])))


Finding = tuple[BoolArray, Callable[[int], Problem]]


def _findings(table: BarTable, calendar: Calendar, not_after: datetime | None) -> Iterable[Finding]:
    """The rules that speak of one row, each with the rows that break it."""
    yield from _times(table, calendar, not_after)
    yield from _prices(table)
    yield from _volume(table)


def _prices(table: BarTable) -> Iterable[Finding]:
    for name in PRICES:
        value = getattr(table, name)
        yield (
            ~np.isfinite(value),
            _problem_maker(table, Code.NOT_FINITE, name, "expected a finite price, was {value}"),
        )
        yield value <= 0, _problem_maker(table, Code.NOT_POSITIVE, name, "expected a price above 0, was {value}")
    top, bottom = np.maximum(table.open, table.close), np.minimum(table.open, table.close)
    yield (
        table.high < np.maximum(top, table.low),
        _order(table, "high", "the highest price", np.maximum(top, table.low)),
    )
    yield table.low > bottom, _order(table, "low", "the lowest price", bottom)


def _volume(table: BarTable) -> Iterable[Finding]:
    problem_at = _problem_maker(table, Code.NOT_FINITE, "volume", "expected a finite number, was {value}")
    yield ~np.isfinite(table.volume), problem_at
    problem_at = _problem_maker(table, Code.NEGATIVE_VOLUME, "volume", "expected a volume of at least 0, was {value}")
    yield table.volume < 0, problem_at


def _times(table: BarTable, calendar: Calendar, not_after: datetime | None) -> Iterable[Finding]:
    yield np.isnat(table.ts), _problem_maker(table, Code.BAD_TIME, "ts", "expected a time, was none")
    text = f"expected a time since {FIRST_YEAR.item().year}, was {{ts}}"
    yield np.asarray(table.ts < FIRST_YEAR), _problem_maker(table, Code.BAD_TIME, "ts", text)
    if not_after is not None:
        text = f"expected a bar closed by {not_after:%Y-%m-%d %H:%M:%S} UTC, was {{ts}}"
        yield np.asarray(table.ts > stamp(not_after)), _problem_maker(table, Code.FUTURE, "ts", text)
    text = f"expected a time less than {FAR_YEARS} years from most rows, was {{ts}}"
    yield _astray(table, not_after), _problem_maker(table, Code.BAD_TIME, "ts", text)
    text = f"expected a multiple of {table.timeframe} on the UTC clock, was {{ts}}"
    yield _off_grid(table), _problem_maker(table, Code.OFF_GRID, "ts", text)
    yield ~np.isnat(table.ts) & ~calendar.has_close(table.timeframe, table.ts), _outside(table, calendar)


def _outside(table: BarTable, calendar: Calendar) -> Callable[[int], Problem]:
    def problem_at(row: int) -> Problem:
        text = f"expected the close of a {table.timeframe} bar of calendar {calendar.name}, was {{ts}}"
        closed = ", a day on which the exchange was closed" * calendar.closed_on_the_day_of(utc(table.ts[row]))
        return _problem_maker(table, Code.OUTSIDE_SESSION, "ts", text + closed)(row)

    return problem_at


def _astray(table: BarTable, not_after: datetime | None) -> BoolArray:
    """Rows that a gap of ten years and more parts from most: a mistyped year."""
    possible = table.ts >= FIRST_YEAR
    if not_after is not None:
        possible &= table.ts <= stamp(not_after)
    ts = np.sort(table.ts[possible])
    parts = np.split(ts, np.flatnonzero(np.diff(ts) > np.timedelta64(FAR_YEARS * 366, "D")) + 1)
    most = max(parts, key=len)
    if len(most) == len(ts):
        return np.zeros(table.n_rows, dtype=bool)
    return np.asarray(possible & ((table.ts < most[0]) | (table.ts > most[-1])))


def _off_grid(table: BarTable) -> BoolArray:
    if table.timeframe == "1d":  # a US daily bar is named by its session's close, which is no multiple of a day
        return np.zeros(table.n_rows, dtype=bool)
    step = timeframes.seconds(table.timeframe) * 1_000_000
    return np.asarray(~np.isnat(table.ts) & (table.ts.astype(np.int64) % step != 0))


def _problem_maker(table: BarTable, code: Code, column: str, text: str) -> Callable[[int], Problem]:
    def problem_at(row: int) -> Problem:
        at = None if np.isnat(table.ts[row]) else utc(table.ts[row])
        detail = text.format(value=getattr(table, column)[row], ts=f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "none")
        number = int(table.row[row])
        return Problem(code=code, symbol=table.symbol, row=number, column=column, bar_ts=at, detail=detail)

    return problem_at


def _order(table: BarTable, column: str, what: str, bound: FloatArray) -> Callable[[int], Problem]:
    def problem_at(row: int) -> Problem:
        text = f"expected {what} of its bar, was {{value}} beside {bound[row]}"
        return _problem_maker(table, Code.PRICE_ORDER, column, text)(row)

    return problem_at


def _in_order(table: BarTable) -> tuple[BarTable, list[Problem]]:
    """Sorted by time with one row a time, and what was told about rows that were not so."""
    if table.n_rows < 2 or bool(np.all(table.ts[1:] > table.ts[:-1])):
        return table, []
    ticks = table.ts.astype(np.int64)
    behind = np.flatnonzero(ticks[1:] < np.maximum.accumulate(ticks)[:-1]) + 1
    many = f"; {len(behind)} rows are so" * (len(behind) > 1)
    text = f"expected times in rising order, was {{ts}} behind a later one{many}"
    problem_at = _problem_maker(table, Code.OUT_OF_ORDER, "ts", text)
    problems = [replace(problem_at(int(row)), n_rows=len(behind)) for row in behind[:1]]
    order = np.argsort(table.ts, kind="stable")
    ordered = table.take(order)
    repeated = np.concatenate([ordered.ts[1:] == ordered.ts[:-1], [False]])  # a later row of the same time follows
    problems += [_repetition(ordered, int(row)) for row in np.flatnonzero(repeated)]
    return ordered.take(~repeated), problems


def _repetition(table: BarTable, row: int) -> Problem:
    same = all(getattr(table, name)[row] == getattr(table, name)[row + 1] for name in FIELDS)
    code = Code.DUPLICATE if same else Code.CONFLICT
    how = "the same values" if same else "other values"
    return _problem_maker(
        table, code, "ts", f"expected each time once, was {{ts}} again in row {table.row[row + 1]} with {how}"
    )(row)


def gaps(table: BarTable, calendar: Calendar, expected: tuple[datetime, datetime] | None) -> list[Problem]:
    """One problem for each run of missing bars; the bars that a gap lacks are counted, and never laid out."""
    if expected is None and not table.n_rows:
        return []
    ts = table.ts
    if expected is None:
        after, last = calendar.index(table.timeframe, ts[[0, -1]]) - (1, 0)
    else:
        span = np.array([stamp(moment) for moment in expected])
        after, last = calendar.index(table.timeframe, span)
        ts = ts[(ts > span[0]) & (ts <= span[1])]
    there = np.concatenate([[after], calendar.index(table.timeframe, ts), [last + 1]])
    before = np.flatnonzero(np.diff(there) > 1)
    closes = [calendar.close_of(table.timeframe, index) for index in (there[before] + 1, there[before + 1] - 1)]
    counts = there[before + 1] - there[before] - 1
    return [_gap(table, utc(a), utc(b), int(n)) for a, b, n in zip(*closes, counts, strict=True)]


def longest_pause(found: Iterable[Problem]) -> list[Problem]:
    """Of gaps between bars that are made of trades the longest, as what it is: time in which nobody may have traded."""
    longest = max(found, key=lambda gap: gap.missing_bars, default=None)
    return [replace(longest, code=Code.PAUSE)] if longest else []


def _gap(table: BarTable, first: datetime, last: datetime, n_bars: int) -> Problem:
    bars = "1 bar is" if n_bars == 1 else f"{n_bars} bars are"
    span = f"{first:%Y-%m-%d %H:%M}" if n_bars == 1 else f"{first:%Y-%m-%d %H:%M} .. {last:%Y-%m-%d %H:%M}"
    detail = f"{bars} missing at {span} UTC"
    return Problem(code=Code.GAP, symbol=table.symbol, bar_ts=first, detail=detail, missing_bars=n_bars)
