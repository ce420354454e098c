"""Bars or trades of one instrument in a file: as it is written, and as bars that are named by their closes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from helios.errors import DataError
from trading.market.bars import BarTable, FloatArray, IntArray, TimeArray, bar_table
from trading.market.calendars import ALWAYS_OPEN, Calendar, calendar
from trading.market.feeds import file_columns, file_times
from trading.market.feeds.file_clocks import Reading, check_clock
from trading.market.feeds.file_closes import MINUTE, TimeLabel, Times, named_closes
from trading.market.feeds.file_columns import Columns
from trading.market.feeds.file_numbers import DecimalMark, bare, decimal_of, numbers
from trading.market.feeds.file_symbols import rows_of
from trading.market.feeds.file_text import Sheet, open_sheet
from trading.market.feeds.file_times import A_TIME, DAY_OR_MONTH, DateOrder, Moments, read_times
from trading.market.feeds.file_zones import check_zone, in_utc
from trading.market.trades import Trades

MOST_UNREADABLE: Final = 100_000  # rows that are told one by one; a file that has more is of another kind
LONGEST_SHOWN: Final = 60  # letters of a value
LONGEST_ID: Final = 100
UTC_IF_UNNAMED: Final = "UTC, as none is named"
OF_TRADES: Final = TimeLabel("trade", "a price and a quantity stand in each row; a minute's bar is made of its trades")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row that holds no bar: `row` counts as an editor does, `detail` says what was expected and what came."""

    row: int
    column: str
    detail: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"row {self.row}{column}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRows:
    """What a file says, row by row, before a calendar tells which bars its times name.

    `fields` are those of bars, or price and quantity of trades; `trade_ids` are empty text where there are none.
    """

    source: FileSource
    columns: Columns
    decimal: DecimalMark
    separator: str
    moments: Moments
    fields: list[FloatArray]
    trade_ids: npt.NDArray[np.str_]
    rows: IntArray
    times: pl.Series  # as they are written
    unreadable: tuple[Unreadable, ...]

    def time_of(self, row: int) -> list[str]:
        """The time of a row as the file has it, in words; nothing of a bar that is no row."""
        return [f"the file has {str(self.times[int(at)])!r} there" for at in np.flatnonzero(self.rows == row)]

    def bars(self, calendar_name: str) -> tuple[BarTable, TimeLabel]:
        """The readable rows by their closes, and what their times were taken to name."""
        if self.columns.of_trades:
            raise DataError(f"{self.source.path.name} must hold bars, holds trades; import_data makes bars of them")
        hours = calendar(calendar_name)
        closes, label = self._closes(self.moments.utc, hours)
        reading = Reading(
            closes_of=lambda utc, label: self._closes(utc, hours, label)[0],
            labels=(self._label,) if self._label else ("open", "close"),
            hours=hours,
            timeframe=self.source.timeframe,
        )
        self._check_clock(self.moments, self.rows, reading, label)
        return bar_table(self.source.symbol, self.source.timeframe, closes, self.fields, self.rows), label

    def check_trades(self, calendar_name: str) -> None:
        """Refuse trades at times that are not those of the calendar's market, by their minutes."""
        minutes = self.moments.utc.to_numpy().astype("datetime64[m]")
        first = np.isin(np.arange(len(minutes)), np.unique(minutes, return_index=True)[1])
        reading = Reading(
            closes_of=lambda utc, _: (utc.to_numpy().astype("datetime64[m]") + MINUTE).astype("datetime64[us]"),
            labels=("",),
            hours=calendar(calendar_name),
            timeframe="1m",
        )
        self._check_clock(self.moments.take(first), self.rows[first], reading, OF_TRADES)

    def _check_clock(self, moments: Moments, rows: IntArray, reading: Reading, label: TimeLabel) -> None:
        try:
            check_clock(moments, rows, reading, taken_for=f"{label}, in {moments.zone or UTC_IF_UNNAMED}")
            label.check()
        except DataError as error:
            raise DataError(f"{self.source.path.name}, column {self.columns.time[0]}: {error}") from error

    def trades(self) -> Trades:
        """The readable rows of a file of trades."""
        price, quantity = self.fields
        ts = self.moments.utc.to_numpy().astype("datetime64[us]")
        return Trades(
            symbol=self.source.symbol,
            ts=ts,
            price=price,
            quantity=quantity,
            trade_id=self.trade_ids,
            side=np.full(len(ts), ""),
            row=self.rows,
        )

    @property
    def _label(self) -> str:
        return self.source.times or self.columns.label

    def _closes(self, utc: pl.Series, hours: Calendar, label: str = "") -> tuple[TimeArray, TimeLabel]:
        label = label or self._label
        teller = f"--times {label}" if self.source.times else f"the column {self.columns.time[0]}"
        because = f"{teller} says" * bool(label)
        wall = self.moments.wall.to_numpy()
        return named_closes(utc.to_numpy(), wall, self.source.timeframe, hours, label=label, because=because)

    @property
    def clock(self) -> str:
        """The zones of the times, in words."""
        return self.moments.zone or f"{UTC_IF_UNNAMED}; --zone changes that"

    def described(self, label: TimeLabel) -> dict[str, str]:
        """How the file was understood, in words."""
        written = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(self.separator)
        return {
            "time": f"column {' and '.join(self.columns.time)}, {self.moments.form}",
            "names": str(label),
            "zone": self.clock,
            **({"numbers": f"decimal {self.decimal}, values between {written}"} if written else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Bars of one symbol and timeframe in a text (.csv, .tsv, .txt), Parquet or Feather file, also in .gz or .zip.

    Columns: a time (ts, timestamp, datetime, date, ...), open, high, low, close, volume, in any order and
    case; further columns are ignored, unless they tell another time or symbol. A time without an offset is UTC, unless
    `zone` says otherwise. docs/data.md says how each is read. `times`, `zone`, `decimal`, `dates`, `time_column` and
    `file_symbol` settle what a file leaves open.
    """

    path: Path
    symbol: str
    timeframe: str
    calendar: str = ALWAYS_OPEN
    times: Times | None = None
    zone: str = ""
    decimal: DecimalMark | None = None
    dates: DateOrder | None = None
    time_column: str = ""
    file_symbol: str = ""

    def read(self) -> BarTable:
        """The whole file; `DataError` names file, row and column of the first value that cannot be read."""
        found = self.rows()
        if found.unreadable:
            raise DataError(f"{self.path.name} {found.unreadable[0]}")
        return found.bars(self.calendar)[0]

    def rows(self) -> FileRows:
        """The file as it is written; `DataError` where no row of it can be read."""
        return _rows(open_sheet(self.path), self)


def table_from_frame(symbol: str, timeframe: str, frame: pl.DataFrame) -> BarTable:
    """A frame with columns ts (closes), open, high, low, close, volume as a table; rows count from 1."""
    sheet = Sheet(frame=frame, rows=np.arange(1, frame.height + 1), width=np.zeros(frame.height, np.int64))
    source = FileSource(path=Path(symbol), symbol=symbol, timeframe=timeframe, times="close")
    found = _rows(sheet, source)
    if found.unreadable:
        raise DataError(f"{symbol} {found.unreadable[0]}")
    return bar_table(symbol, timeframe, found.moments.utc.to_numpy(), found.fields)


def _rows(sheet: Sheet, source: FileSource) -> FileRows:
    name = source.path.name
    columns = file_columns.find(sheet.frame.columns, name, chosen=source.time_column, unread=sheet.unread)
    if sheet.frame.is_empty():
        raise DataError(f"{name} must hold bars, had only a header")
    sheet = rows_of(sheet, source.symbol, name, chosen=source.file_symbol)
    frame = sheet.frame
    time = frame[columns.time[0]] if len(columns.time) == 1 else file_times.joined(*(frame[k] for k in columns.time))
    moments = _by_clock(read_times(time, order=source.dates), source)
    if (row := moments.ambiguous) is not None:
        raise DataError(f"{name} row {sheet.rows[row]}, column {columns.time[0]}: {DAY_OR_MONTH.format(time[row])}")
    _refuse_rivals(sheet, columns, moments, source)
    names = columns.parts
    values = dict(zip(names, (frame[each] for each in columns.fields), strict=True))
    decimal = source.decimal or decimal_of(values, separator=sheet.separator)
    if decimal is None:
        raise _two_readings(values, sheet, name)
    read = {"ts": moments.utc, **{key: numbers(column, decimal) for key, column in values.items()}}
    unreadable, good = _unreadable(sheet, read, {"ts": time, **values}, names=columns.by_field, zone=source.zone)
    if not good.any() or len(unreadable) > MOST_UNREADABLE:
        more = f", the first of {n_bad:,} such rows" if (n_bad := np.count_nonzero(~good)) > 1 else ""
        raise DataError(f"{name} {unreadable[0]}{more}")
    return FileRows(
        source=source,
        columns=columns,
        decimal=decimal,
        separator=sheet.separator,
        moments=moments.take(good),
        fields=[read[key].to_numpy()[good] for key in names],
        trade_ids=_text(frame[columns.trade_id] if columns.trade_id else None, frame.height)[good],
        rows=sheet.rows[good],
        times=time.filter(good),
        unreadable=unreadable,
    )


def _text(column: pl.Series | None, length: int) -> npt.NDArray[np.str_]:
    if column is None:
        return np.full(length, "", np.str_)
    ids = column.cast(pl.String, strict=False).fill_null("")
    longest = int(ids.str.len_chars().cast(pl.Int64).to_numpy().max(initial=0))
    if longest > LONGEST_ID:  # each would take as much memory as the longest
        raise DataError(f"{column.name} must hold ids of at most {LONGEST_ID} letters, the longest has {longest:,}")
    return ids.to_numpy().astype(np.str_)


def _by_clock(moments: Moments, source: FileSource) -> Moments:
    """The times as the clock of `zone` shows them, where somebody names one."""
    if not source.zone:
        return moments
    check_zone(source.zone)
    if moments.zone:
        raise DataError(
            f"{source.path.name}: --zone is for times that name no offset from UTC, and these name {moments.zone}"
        )
    return replace(moments, utc=in_utc(moments.wall, source.zone), zone=source.zone)


def _unreadable(
    sheet: Sheet, read: dict[str, pl.Series], written: dict[str, pl.Series], *, names: Mapping[str, str], zone: str
) -> tuple[tuple[Unreadable, ...], npt.NDArray[np.bool_]]:
    """The rows with a value that cannot be read, each told by its first one, and the mask of the others."""
    bad = {key: column.is_null().to_numpy() for key, column in read.items()}
    wide = sheet.width > 0
    any_bad = np.logical_or.reduce([wide, *bad.values()])
    out = []
    for index in np.flatnonzero(any_bad)[: MOST_UNREADABLE + 1]:
        row = int(sheet.rows[index])
        if wide[index]:
            detail = f"expected {sheet.frame.width} values, was {sheet.width[index]}"
            out.append(Unreadable(row=row, column="", detail=detail))
            continue
        key = next(each for each in bad if bad[each][index])
        value = written[key][int(index)]
        shown = "empty" if value is None or value == "" else repr(value)[:LONGEST_SHOWN]
        once = f", that the clock of {zone} shows once" if zone else ""
        expected = f"{A_TIME}{once}" if key == "ts" else "a number"
        out.append(Unreadable(row=row, column=names[key], detail=f"expected {expected}, was {shown}"))
    return tuple(out), ~any_bad


def _refuse_rivals(sheet: Sheet, columns: Columns, moments: Moments, source: FileSource) -> None:
    """A further column of times that says the same is none; any other may be the one that is meant."""
    for other in sheet.frame.columns:
        column = sheet.frame[other]
        if other in (*columns.time, *columns.fields, *columns.settled) or column.null_count() == len(column):
            continue
        if other in columns.others or file_times.is_time(column):
            rival = read_times(column, order=source.dates)
            differs = rival.utc.ne_missing(moments.utc)
            if source.zone and not rival.zone:  # it may be of the same clock
                differs &= rival.wall.ne_missing(moments.wall)
            if differs.any():
                row = differs.arg_true()[0]
                raise DataError(
                    f"{source.path.name} must tell its times in one column, has {' and '.join(columns.time)} and also "
                    f"{other} with others (row {sheet.rows[row]}: {column[row]!r}); --time-column names the one to read"
                )


def _two_readings(values: dict[str, pl.Series], sheet: Sheet, name: str) -> DataError:
    """The first number that is one number with a decimal comma and another with a decimal point."""
    for key, column in values.items():
        if column.dtype == pl.String:
            marked = bare(column).str.contains("[.,]").fill_null(value=False)
            if marked.any():
                index = int(marked.arg_true()[0])
                return DataError(
                    f"{name} row {sheet.rows[index]}, column {key}: expected numbers that show what a comma and a "
                    f"point in them mean, was {column[index]!r}; --decimal comma or --decimal point says it"
                )
    raise AssertionError("only text has two readings")
