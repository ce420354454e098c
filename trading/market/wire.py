"""Bars in PostgreSQL's binary COPY format, to and from NumPy without a Python object a value, and as arrays.

Source: PostgreSQL documentation, COPY, "Binary Format". Every number is big-endian; a timestamptz is
microseconds since 2000-01-01 UTC.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from trading.market.bars import FIELDS, Bars, gridded

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)  # signature, no flags, no extension
TRAILER = b"\xff\xff"
_EPOCH_2000 = np.datetime64("2000-01-01", "us")
_MICROSECOND = np.timedelta64(1, "us")


def _layout(columns: list[tuple[str, str, int]]) -> np.dtype[np.void]:
    """A row of COPY: the number of columns, then for each its length in bytes and its value."""
    parts: list[tuple[str, str]] = [("n", ">i2")]
    for name, kind, size in columns:
        parts += [(f"{name}_size", ">i4"), (name, f"S{size}" if kind == "S" else kind)]
    return np.dtype(parts)


def encode(bars: Bars, source: str) -> tuple[bytes, int]:
    """COPY data for the columns symbol, timeframe, source, bar_ts and the fields, and the number of rows.

    Rows whose close is NaN are bars that do not exist and are left out.
    """
    parts, total = [HEADER], 0
    since_2000 = (bars.ts - _EPOCH_2000) // _MICROSECOND
    names = [symbol.encode() for symbol in bars.symbols]
    texts = {"timeframe": bars.timeframe.encode(), "source": source.encode()}
    exists = ~np.isnan(bars.close.T)
    for length, run in groupby(range(len(names)), key=lambda column: len(names[column])):
        of_run = np.array([*run])  # symbols of one length have rows of one layout
        of_symbol, own = np.nonzero(exists[of_run])
        columns = [("symbol", "S", length), *((key, "S", len(text)) for key, text in texts.items())]
        columns += [("ts", ">i8", 8), *((field, ">f8", 8) for field in FIELDS)]
        rows = np.zeros(len(own), _layout(columns))
        rows["n"] = len(columns)
        for key, _, size in columns:
            rows[f"{key}_size"] = size
        for key, text in texts.items():
            rows[key] = text
        rows["symbol"] = np.array([names[column] for column in of_run])[of_symbol]
        rows["ts"] = since_2000[own]
        for field in FIELDS:
            rows[field] = getattr(bars, field)[own, of_run[of_symbol]]
        parts.append(rows.tobytes())
        total += len(own)
    return b"".join((*parts, TRAILER)), total


def arrays(bars: Bars) -> tuple[dict[str, str], int]:
    """Symbols, microseconds since 1970 and the fields of the bars that exist as literals of arrays, and their number.

    Each number is the shortest decimal that names it.
    """
    of_symbol, own = np.nonzero(~np.isnan(bars.close.T))
    columns: dict[str, Any] = {
        "symbol": [bars.symbols[column] for column in of_symbol.tolist()],
        "us": bars.ts.astype("datetime64[us]").astype(np.int64)[own],
        **{field: getattr(bars, field)[own, of_symbol] for field in FIELDS},
    }
    told = {name: orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY) for name, column in columns.items()}
    return {name: f"{{{text[1:-1].decode()}}}" for name, text in told.items()}, len(own)


_READ = _layout([("symbol", ">i4", 4), ("ts", ">i8", 8), *((field, ">f8", 8) for field in FIELDS)])


def decode(data: bytes, symbols: tuple[str, ...], timeframe: str) -> Bars:
    """COPY data of the symbol's number (int4), bar_ts and the five fields -> `Bars` on the union timeline."""
    body = memoryview(data)[len(HEADER) : -len(TRAILER)]
    rows: npt.NDArray[np.void] = np.frombuffer(body, _READ)
    times = _EPOCH_2000 + rows["ts"].astype("timedelta64[us]")
    return gridded(symbols, timeframe, times, rows["symbol"].astype(np.intp), {name: rows[name] for name in FIELDS})
