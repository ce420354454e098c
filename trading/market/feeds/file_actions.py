"""Splits and dividends of one instrument in a file: a date, and what happened on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as date_of
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from helios.errors import DataError
from trading.enums import ActionKind
from trading.market.actions import ONE, Action
from trading.market.calendars import Calendar
from trading.market.feeds.file_columns import plain
from trading.market.feeds.file_numbers import DecimalMark, bare, decimal_of, numbers
from trading.market.feeds.file_symbols import rows_of
from trading.market.feeds.file_text import Sheet, open_sheet
from trading.market.feeds.file_times import DAY_OR_MONTH, DateOrder, read_times

DATES: Final = ("ex_date", "exdate", "ex_dividend_date", "ex-date", "date", "day", "datetime", "timestamp", "time")
SPLITS: Final = ("split", "splits", "stock_split", "stock_splits", "split_ratio", "ratio")
DIVIDENDS: Final = ("dividend", "dividends", "cash_dividend", "cash_amount", "amount")
ACTIONS: Final = ("action", "action_type", "event", "kind", "type")
NAMES: Final = {  # what a split and a dividend in cash are called; a name with any other word is of something else
    ActionKind.SPLIT: {"split", "splits", "stock", "share", "shares", "forward", "reverse"},
    ActionKind.DIVIDEND: {
        *("dividend", "dividends", "cash", "ordinary", "regular", "special", "extra", "extraordinary", "interim"),
        *("final", "annual", "semi", "semiannual", "quarterly", "monthly"),
    },
}
VALUES: Final = ("value", *DIVIDENDS, *SPLITS)
_RATIO: Final = r"(?i)^\s*([^\s:/a-z-]+)\s*(?::|/|-?for-?|-?to-?)\s*([^\s:/a-z-]+)\s*$"  # new shares, then old ones
SHOWN: Final = 3
MOST: Final = 1e9
EXPECTED: Final = {
    ActionKind.SPLIT: "new shares for an old one, such as 2, 2:1, 2/1 or 1:10",
    ActionKind.DIVIDEND: "an amount a share, such as 0.22",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileActions:
    """What a file says, and how it was understood, in words."""

    actions: tuple[Action, ...]
    understood: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A number of each row (of a split its new shares) and, where the row says so, per how many old ones.

    `kind` is None where another column names it.
    """

    name: str
    kind: ActionKind | None
    written: pl.Series
    value: pl.Series
    per: pl.Series
    has_ratio: pl.Series  # whether a row has two numbers, readable or not


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFile:
    """A file of actions in any of the formats of bars. `dates`, `decimal` and `file_symbol` as for those."""

    path: Path
    symbol: str
    calendar: Calendar
    decimal: DecimalMark | None = None
    dates: DateOrder | None = None
    file_symbol: str = ""

    def read(self, *, may_be_empty: bool = False) -> FileActions:
        """All of it, in order; `DataError` names the row and column of the first value that cannot be read.

        Or says that it holds nothing, unless it `may_be_empty`.
        """
        name = self.path.name
        sheet = rows_of(open_sheet(self.path), self.symbol, name, chosen=self.file_symbol)
        by_name = {plain(column): column for column in reversed(sheet.frame.columns)}
        date, named = _one(by_name, DATES), _one(by_name, ACTIONS)
        kinds = _kinds(by_name, named=bool(named))
        if not date or not kinds:
            raise DataError(
                f"{name} must have a column date and one of split or dividend, or action with value; it has {sheet.has}"
            )
        wide = np.flatnonzero(sheet.width > 0)
        if len(wide):
            raise DataError(f"{name} row {sheet.rows[wide[0]]}: expected {sheet.frame.width} values, was more")
        days = self._days(sheet, date)
        found = self._found(sheet, self._columns(sheet, kinds), named)
        actions = [self._action(sheet, row, (date, days[row]), kind, column) for row, kind, column in found]
        if not (actions or may_be_empty):
            raise DataError(f"{name} must hold a split or a dividend, holds none")
        once = self._once(actions, [int(sheet.rows[row]) for row, *_ in found])
        return FileActions(actions=once, understood=_described(once, date, kinds, named))

    def _days(self, sheet: Sheet, date: str) -> pl.Series:
        """The day of each row, by the clock of its own time; null where it cannot be read."""
        moments = read_times(sheet.frame[date], order=self.dates)
        if (row := moments.ambiguous) is not None:
            raise DataError(f"{self._at(sheet, row, date)}: {DAY_OR_MONTH.format(sheet.frame[date][row])}")
        return moments.wall.dt.date()

    def _found(self, sheet: Sheet, columns: Sequence[_Column], named: str) -> list[tuple[int, ActionKind, _Column]]:
        """The rows in which something happened, with what; a value of 0 or none is nothing, unless it is named."""
        found: list[tuple[int, ActionKind, _Column]] = []
        for column in columns:
            nothing = bare(column.written.cast(pl.String, strict=False)).is_null() | (column.value == 0).fill_null(
                value=False
            )
            for row in range(sheet.frame.height):
                if column.kind is None:
                    found.append((row, self._kind(sheet, row, named), column))
                elif not nothing[row]:
                    found.append((row, column.kind, column))
        return sorted(found, key=lambda each: each[0])

    def _columns(self, sheet: Sheet, kinds: Mapping[str, ActionKind | None]) -> list[_Column]:
        """The columns of values, read by the decimal mark that they show together."""
        parts: dict[str, tuple[pl.Series, pl.Series]] = {}
        for name in kinds:
            written = sheet.frame[name]
            text = written.cast(pl.String, strict=False)
            new, old = (text.str.extract(_RATIO, place) for place in (1, 2))
            split = new.null_count() < len(new)
            parts[name] = pl.select(pl.coalesce(new, text)).to_series() if split else written, old
        numbered = {f"{name} {place}": each for name, both in parts.items() for place, each in enumerate(both)}
        decimal = self.decimal or decimal_of(numbered, separator=sheet.separator)
        if decimal is None:
            raise DataError(
                f"{self.path.name} must have numbers that show what a comma and a point in them mean; --decimal comma "
                "or --decimal point says it"
            )
        return [
            _Column(
                name=name,
                kind=kinds[name],
                written=sheet.frame[name],
                value=numbers(value, decimal),
                per=numbers(old, decimal),
                has_ratio=old.is_not_null(),
            )
            for name, (value, old) in parts.items()
        ]

    def _kind(self, sheet: Sheet, row: int, named: str) -> ActionKind:
        said = str(sheet.frame[named][row] or "").lower()
        words = {*re.findall(r"[^\W_]+", said)}
        for kind in ActionKind:
            if words <= NAMES[kind] and words & {kind.value, f"{kind.value}s"}:
                return kind
        other = "; one that is paid in shares is a split, as 21:20 where 5 % are given" if "dividend" in said else ""
        raise DataError(f"{self._at(sheet, row, named)}: expected split or dividend (in cash), was {said!r}{other}")

    def _action(
        self, sheet: Sheet, row: int, on: tuple[str, date_of | None], kind: ActionKind, column: _Column
    ) -> Action:
        date, day = on
        if day is None:
            raise DataError(
                f"{self._at(sheet, row, date)}: expected a date such as 2024-01-31, was {sheet.frame[date][row]!r}"
            )
        if self.calendar.closes and not self.calendar.closes_at("1d", self.calendar.named_day(day)):
            raise DataError(
                f"{self._at(sheet, row, date)}: expected a day with a session of {self.calendar.name}, the first "
                f"without the {kind}, was {day}"
            )
        value, per, has_ratio = column.value[row], column.per[row], column.has_ratio[row]
        bad = not _possible(value) or (has_ratio and not _possible(per))
        if bad or (has_ratio and kind is ActionKind.DIVIDEND) or (kind is ActionKind.SPLIT and value == (per or 1)):
            raise DataError(
                f"{self._at(sheet, row, column.name)}: expected {EXPECTED[kind]}, was {column.written[row]!r}"
            )
        return Action(
            symbol=self.symbol,
            ex_ts=self.calendar.begins(day),
            kind=kind,
            value=Decimal(repr(value)),
            per=Decimal(repr(per)) if per else ONE,
        )

    def _once(self, actions: Sequence[Action], rows: Sequence[int]) -> tuple[Action, ...]:
        """Each action once, by time; two that differ on one day are refused."""
        found: dict[tuple[object, str], Action] = {}
        for action, row in zip(actions, rows, strict=True):
            other = found.setdefault((action.ex_ts, action.kind.value), action)
            if other != action:
                raise DataError(
                    f"{self.path.name} row {row}: expected one {action.kind} a day, was {action} beside {other}; of "
                    "two dividends write the sum"
                )
        return tuple(sorted(found.values(), key=lambda each: (each.ex_ts, each.kind)))

    def _at(self, sheet: Sheet, row: int, column: str) -> str:
        return f"{self.path.name} row {sheet.rows[row]}, column {column}"


def _kinds(by_name: Mapping[str, str], *, named: bool) -> dict[str, ActionKind | None]:
    """The columns of values with the kind of each; the one of both kinds where another column names it."""
    kinds: tuple[tuple[ActionKind | None, Sequence[str]], ...] = (
        ((None, VALUES),) if named else ((ActionKind.SPLIT, SPLITS), (ActionKind.DIVIDEND, DIVIDENDS))
    )
    return {column: kind for kind, names in kinds if (column := _one(by_name, names))}


def _one(by_name: Mapping[str, str], names: Sequence[str]) -> str:
    """The column that has the first of these names."""
    return next((by_name[name] for name in names if name in by_name), "")


def _possible(value: float | None) -> bool:
    """Whether so many shares, or so much money a share, can be; NaN cannot."""
    return value is not None and 1 / MOST <= value <= MOST


def _described(actions: Sequence[Action], date: str, columns: Iterable[str], named: str) -> dict[str, str]:
    """How the file was understood, in words."""
    splits = [each for each in actions if each.is_split]
    dividends = [each for each in actions if not each.is_split]
    lines = {
        "time": f"column {date}, the first day without what happened",
        "values": " and ".join(columns) + (f", what each is by column {named}" if named else ""),
        "splits": _shown(splits),
        "dividends": _shown(dividends),
    }
    return {title: text for title, text in lines.items() if text}


def _shown(actions: Sequence[Action]) -> str:
    shown = [str(each) for each in actions]
    if len(shown) > SHOWN:
        shown[1:-1] = ["..."]
    return f"{len(actions)}: {', '.join(shown)}" if shown else ""
