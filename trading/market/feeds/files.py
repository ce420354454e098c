"""Bars of one instrument in a file of three formats."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from helios.errors import DataError
from trading.market import timeframes
from trading.market.bars import FIELDS, BarTable, FloatArray, TimeArray, bar_table
from trading.market.calendars import ALWAYS_OPEN, calendar
from trading.market.feeds.file_times import day_numbers, parse_times
from trading.market.timestamps import stamp

TIME_COLUMNS = ("ts", "bar_ts", "timestamp", "datetime", "date", "time", "close_time", "open_time")
CSV_SUFFIXES = (".csv", ".csv.gz")
SUFFIXES = (*CSV_SUFFIXES, ".parquet", ".feather", ".arrow")
_A_TIME = "a time such as 2024-01-31 15:30:00, 2024-01-31T15:30:00+00:00 or seconds since 1970"

Times = Literal["close", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Bars of one symbol and timeframe in a CSV (also gzipped), Parquet or Feather file.

    Columns: a time (ts, timestamp, datetime, date, ...), open, high, low, close, volume, in any order and
    case; further columns are ignored. A time without an offset is UTC. `times` says whether it names the
    close or the open of its bar; a daily US bar that carries a date only is named by that session's close.
    """

    path: Path
    symbol: str
    timeframe: str
    calendar: str = ALWAYS_OPEN
    times: Times = "close"

    def read(self) -> BarTable:
        """The whole file; `DataError` names file, row and column of the first value that cannot be read."""
        first_row = 2 if _is_csv(self.path) else 1  # a CSV's header is row 1, as an editor counts
        frame = _named(_open(self.path), self.path.name)
        filled = (~frame.select(pl.all_horizontal(pl.all().is_null())).to_series()).to_numpy()
        rows = np.flatnonzero(filled) + first_row  # a blank line of a CSV counts, and holds no bar
        frame = frame.filter(filled)
        if frame.is_empty():
            raise DataError(f"{self.path.name} must hold bars, had only a header")
        place = Place(self.path.name, rows)
        ts, fields = _parsed(frame, place)
        closes = _as_closes(ts, self.timeframe, self.calendar, self.times)
        return bar_table(self.symbol, self.timeframe, closes, fields, rows)

    def bars(self, symbol: str, timeframe: str, start: datetime, end: datetime) -> BarTable:
        """The file's bars in [start, end]; `DataError` when it holds another symbol or timeframe."""
        if (symbol, timeframe) != (self.symbol, self.timeframe):
            raise DataError(f"{self.path.name} holds {self.symbol} {self.timeframe}, not {symbol} {timeframe}")
        whole = self.read()
        return whole.take(np.asarray((whole.ts >= stamp(start)) & (whole.ts <= stamp(end))))


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file a value stands, for messages."""

    file: str
    rows: npt.NDArray[np.int64]

    def error(self, index: int, column: str, expected: str, value: object) -> DataError:
        shown = "empty" if value is None or value == "" else repr(value)
        return DataError(f"{self.file} row {self.rows[index]}, column {column}: expected {expected}, was {shown}")


def table_from_frame(symbol: str, timeframe: str, frame: pl.DataFrame) -> BarTable:
    """A frame with columns ts (closes), open, high, low, close, volume as a table; rows count from 1."""
    named = _named(frame, symbol)
    place = Place(symbol, np.arange(1, named.height + 1))
    ts, fields = _parsed(named, place)
    return bar_table(symbol, timeframe, ts, fields)


def _is_csv(path: Path) -> bool:
    return path.name.lower().endswith(CSV_SUFFIXES)


def _open(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"{path} must be a file that exists")
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path.name} must end in one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} must hold bars, was empty")
    try:
        if _is_csv(path):
            return pl.read_csv(path, infer_schema=False, glob=False)
        return pl.read_parquet(path) if path.suffix.lower() == ".parquet" else pl.read_ipc(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        if _is_csv(path):
            _check_width(path)
        kind = path.suffix.lower().removeprefix(".")
        raise DataError(f"{path.name} must be a readable {kind} file, was not: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _check_width(path: Path) -> None:
    """Name the first row that has more values than the header."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", newline="", encoding="utf-8") as lines:
            reader = csv.reader(lines)
            width = len(next(reader, []))
            for values in reader:
                if len(values) > width:
                    raise DataError(f"{path.name} row {reader.line_num}: expected {width} values, was {len(values)}")
    except (OSError, UnicodeDecodeError, csv.Error):
        return  # the caller tells what the parser said


def _named(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """The six columns under their own names."""
    by_name = {name.strip().lower(): name for name in reversed(frame.columns)}
    time = next((by_name[name] for name in TIME_COLUMNS if name in by_name), None)
    missing = [name for name in FIELDS if name not in by_name]
    if time is None or missing:
        wanted = [*(["a time (ts, timestamp, datetime or date)"] if time is None else []), *missing]
        raise DataError(f"{source} must have column {', '.join(wanted)}; it has {', '.join(frame.columns)}")
    return frame.select(pl.col(time).alias("ts"), *(pl.col(by_name[name]).alias(name) for name in FIELDS))


def _parsed(frame: pl.DataFrame, place: Place) -> tuple[TimeArray, list[FloatArray]]:
    """Times and numbers; the first row with an unreadable value is named, and its column."""
    columns = [(parse_times(frame["ts"]), _A_TIME), *((_numbers(frame[name]), "a number") for name in FIELDS)]
    unreadable = [(index, column.name, expected) for column, expected in columns for index in _first_null(column)]
    if unreadable:
        index, name, expected = min(unreadable, key=lambda found: found[0])
        raise place.error(index, name, expected, frame[name][index])
    ts, *numbers = (column.to_numpy() for column, _ in columns)
    return ts, numbers


def _numbers(column: pl.Series) -> pl.Series:
    values = column.str.strip_chars() if column.dtype == pl.String else column
    return values.cast(pl.Float64, strict=False)


def _first_null(column: pl.Series) -> list[int]:
    return column.is_null().arg_true().head(1).to_list()


def _as_closes(ts: TimeArray, timeframe: str, calendar_name: str, times: Times) -> TimeArray:
    days = day_numbers(ts)
    hours = calendar(calendar_name)
    if timeframe == "1d" and hours.closes and days is not None:
        named = [stamp(hours.named_day(date(1970, 1, 1) + timedelta(days=int(day)))) for day in days]
        return np.array(named, "datetime64[us]")
    length = timeframes.seconds(timeframe) if times == "open" else 0
    return ts + np.timedelta64(length, "s")
