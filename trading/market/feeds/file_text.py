"""Open a file of bars as a table of columns: separated text of any dialect, Parquet or Feather, also compressed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import polars as pl

from helios.errors import DataError
from trading.market.bars import BoolArray, IntArray
from trading.market.feeds import file_columns, typed_process

TEXT_SUFFIXES: Final = (".csv", ".tsv", ".txt")
PACKED: Final = (".gz", ".zip")
SUFFIXES: Final = (*TEXT_SUFFIXES, ".parquet", ".feather", ".arrow")
SEPARATORS: Final = (",", ";", "\t", "|")
# Unpacked, so that reading a file takes less than 4 GB, whatever it holds.
MAX_BYTES: Final = 2**29
MAX_ZIPPED: Final = MAX_BYTES // 2  # packed: what lists a million files takes some nine times as much
MAX_COLUMNS: Final = typed_process.MAX_COLUMNS
MAX_ROWS: Final = 8_000_000
MAX_VALUES: Final = 80_000_000
_PREFACE_LINES: Final = 20  # a title or a link stands above the header of some downloads
_HEAD_BYTES: Final = 64 * 2**10
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a file holds; `rows` is (n_rows,) and counts as an editor does, a text's header included.

    `width` is (n_rows,): how many values a row has, where that is more than there are columns, else 0.
    `separator` is empty where values have types. `unread` are columns of lists, structures and bytes.
    """

    frame: pl.DataFrame
    rows: IntArray
    width: IntArray
    separator: str = ""
    unread: tuple[str, ...] = ()

    @property
    def has(self) -> str:
        """The columns, in words."""
        return file_columns.listed(self.frame.columns, self.unread)

    def take(self, kept: BoolArray) -> Sheet:
        """The rows of a mask."""
        return replace(self, frame=self.frame.filter(kept), rows=self.rows[kept], width=self.width[kept])


def open_sheet(path: Path) -> Sheet:
    """The rows of a file that are neither blank nor a repeated header; `DataError` says why it cannot be read."""
    if not path.is_file():
        raise DataError(f"{path} must be a file that exists")
    kind, packing = _suffixes(path)
    data = _unpacked(path, packing)
    if not data:
        raise DataError(f"{path.name} must hold bars, was empty")
    try:
        sheet = (
            _text_sheet(_utf8(data, path.name), path.name)
            if kind in TEXT_SUFFIXES
            else _typed_sheet(data, kind, path.name)
        )
    except (pl.exceptions.PolarsError, csv.Error, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path.name} must be a readable {kind[1:]} file, was not: {reason}") from error
    return _filled(sheet)


def _suffixes(path: Path) -> tuple[str, str]:
    """What kind of file it is, and how it is packed; an archive that does not say holds text."""
    name = path.name.lower()
    packing = next((each for each in PACKED if name.endswith(each)), "")
    kind = next((each for each in SUFFIXES if name.removesuffix(packing).endswith(each)), "")
    if not kind and packing == ".zip":
        kind = ".csv"
    if not kind:
        raise DataError(f"{path.name} must end in one of {', '.join(SUFFIXES)}, or in these and .gz or .zip")
    return kind, packing


_UNPACKED: Final = (
    *(OSError, EOFError, RuntimeError, NotImplementedError, OverflowError, ValueError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)


def _unpacked(path: Path, packing: str) -> bytes:
    try:
        match packing:
            case ".gz":
                with gzip.open(path) as file:
                    return _bounded(file, path.name)
            case ".zip":
                _bound(path.stat().st_size, MAX_ZIPPED, path.name)
                with zipfile.ZipFile(path) as archive, archive.open(_only_member(archive, path.name)) as file:
                    return _bounded(file, path.name)
            case _:
                with path.open("rb") as file:
                    return _bounded(file, path.name)
    except _UNPACKED as error:
        raise DataError(f"{path.name} must be a readable {packing[1:] or 'file'}, was not: {error}") from error


def _only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        found = ", ".join(repr(one.filename) for one in members[:5]) or "nothing"
        raise DataError(f"{name} must hold one file, holds {len(members)}: {found}")
    return members[0]


def _bounded(file: IO[bytes] | gzip.GzipFile, name: str) -> bytes:
    data = file.read(MAX_BYTES + 1)
    _bound(len(data), MAX_BYTES, name)
    return data


def _bound(size: int, most: int, name: str) -> None:
    if size > most:
        raise DataError(f"{name} must be of {most >> 20} MiB at most, was larger; import it in parts")


def _refuse_too_many(n_rows: int, n_columns: int, name: str) -> None:
    if n_columns > MAX_COLUMNS:
        raise DataError(f"{name} must have {MAX_COLUMNS:,} columns at most, had more")
    if n_rows > MAX_ROWS or n_rows * n_columns > MAX_VALUES:
        raise DataError(
            f"{name} must have {MAX_ROWS:,} rows and {MAX_VALUES:,} values at most, had {n_rows:,} rows of "
            f"{n_columns:,}; import it in parts"
        )


def _typed_sheet(data: bytes, kind: str, name: str) -> Sheet:
    frame, unread = _read_apart(data, kind, name)
    if not frame.columns:
        raise DataError(f"{name} must have columns of times, numbers or text, had none")
    _refuse_too_many(frame.height, frame.width, name)
    return Sheet(
        frame=frame,
        rows=np.arange(1, frame.height + 1),
        width=np.zeros(frame.height, np.int64),
        unread=unread,
    )


def _read_apart(data: bytes, kind: str, name: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The columns of use and the names of the others, read, from its head on, by a process whose memory has an end.

    `OSError` says why they cannot be read.
    """
    argv = [sys.executable, "-I", typed_process.__file__, kind]
    environment = os.environ | {"POLARS_MAX_THREADS": "4"}  # the stacks of more would take memory of many cores
    with tempfile.TemporaryFile() as unpacked:
        try:
            done = subprocess.run(
                argv,
                input=data,
                stdout=unpacked,
                stderr=subprocess.PIPE,
                env=environment,
                timeout=typed_process.WAIT_S,
                check=False,
            )
            code, said = done.returncode, done.stderr.decode(errors="replace").splitlines()
        except subprocess.TimeoutExpired:
            code, said = -1, []
        if code < 0 or said[-1:] == [typed_process.TOO_LARGE]:
            most = typed_process.MAX_BYTES >> 20
            raise DataError(f"{name} must unpack to {most} MiB at most, took more; import it in parts")
        if said[-1:] == [typed_process.TOO_MANY]:
            _refuse_too_many(1, typed_process.MAX_COLUMNS + 1, name)
        if code:
            raise OSError(said[-1] if said else "its reader ended without a word")
        unpacked.seek(0)
        return pl.read_ipc(unpacked), tuple(json.loads(said[-1]))


def _utf8(data: bytes, name: str) -> bytes:
    """The text in UTF-8 with lines that end as here."""
    encoding = next((each for mark, each in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and data[1:2] == b"\0":
        encoding = "utf-16-le"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name} row {row}: expected text in UTF-8 or UTF-16, was {data[error.start]:#04x}") from error
    encoded = text.encode()
    return encoded if b"\n" in encoded else encoded.replace(b"\r", b"\n")


def _text_sheet(data: bytes, name: str) -> Sheet:
    above, separator, names = _header(data, name)
    schema = _parsed(data[:_HEAD_BYTES], separator, above, n_rows=0).schema
    _refuse_too_many(data.count(b"\n"), len(schema), name)
    # What polars says of a longer row names no row, so it cuts them, and they are counted where there is one.
    try:
        frame, width = _parsed(data, separator, above, schema=schema), np.zeros(1, np.int64)
    except pl.exceptions.ComputeError:
        width = _widths(data, separator, above, name)
        frame = _parsed(data, separator, above, schema=schema, truncate_ragged_lines=True)
    rows = np.arange(frame.height) + above + 2
    repeated = pl.all_horizontal(pl.nth(k) == each for k, each in enumerate(names) if each)
    kept = (~frame.select(repeated.fill_null(value=False)).to_series()).to_numpy()
    return Sheet(frame=frame, rows=rows, width=np.resize(width, frame.height), separator=separator).take(kept)


def _header(data: bytes, name: str) -> tuple[int, str, list[str]]:
    """How many lines stand above the names of the columns, what separates those, and they themselves."""
    lines = data[:_HEAD_BYTES].decode(errors="ignore").split("\n")[: _PREFACE_LINES + 1]
    for above, line in enumerate(lines):
        for separator in SEPARATORS:
            names = next(csv.reader([line], delimiter=separator), [])
            if file_columns.is_header(names):
                return above, separator, names
    filled = [number for number, line in enumerate(lines) if line.strip()]
    if not filled:
        raise DataError(f"{name} must hold bars, was empty")
    above = filled[0]
    separator = max(SEPARATORS, key=lines[above].count)
    return above, separator, next(csv.reader([lines[above]], delimiter=separator))


def _parsed(data: bytes, separator: str, above: int, **options: Any) -> pl.DataFrame:
    return pl.read_csv(data, separator=separator, skip_lines=above, infer_schema=False, **options)


def _widths(data: bytes, separator: str, above: int, name: str) -> IntArray:
    """How many values each row below the header has, up to its last one; 0 where the header has as many."""
    n_values = 0  # of the lines of a row, at most: quotes may hold a separator

    def lines() -> Iterator[str]:
        nonlocal n_values
        for line in islice(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""), above, None):
            n_values += line.count(separator)
            _refuse_too_many(1, n_values, name)
            yield line

    widths = []
    for values in csv.reader(lines(), delimiter=separator):
        n_values = 0
        widths.append(_width(values))
    header, *below = widths or [0]
    return np.array([width if width > header else 0 for width in below], np.int64)


def _width(values: list[str]) -> int:
    while values and not values[-1].strip():
        values.pop()
    return len(values)


def _filled(sheet: Sheet) -> Sheet:
    """Without the rows that hold nothing: a blank line of a text counts, and holds no bar."""
    is_text = [pl.col(name).str.strip_chars().replace("", None) for name in sheet.frame.columns if sheet.separator]
    blank = sheet.frame.select(pl.all_horizontal(each.is_null() for each in is_text or [pl.all()]))
    return sheet.take((~blank.to_series()).to_numpy())
