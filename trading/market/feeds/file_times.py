"""Read the times that files carry: ISO 8601, dates, and integers since 1970."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from trading.market.bars import TimeArray

FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f%z",
    "%Y-%m-%d %H:%M%z",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y%m%d",
)
DAY = 86_400_000_000
# An integer says its unit by its size: seconds stay below 1e11 until the year 5138, and so on.
UNITS: tuple[tuple[int, int], ...] = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))


def parse_times(column: pl.Series) -> pl.Series:
    """Any time column -> naive UTC Datetime("us"); null where a value is empty or not understood.

    A time without an offset is UTC. The first value decides the format, the others must follow it.
    """
    if column.dtype == pl.String:
        return _from_text(column)
    if column.dtype.is_integer():
        return _from_integers(column)
    if isinstance(column.dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC") if column.dtype.time_zone else column
        return utc.dt.replace_time_zone(None).dt.cast_time_unit("us")
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    return pl.Series(column.name, [None] * len(column), dtype=pl.Datetime("us"))


def day_numbers(ts: TimeArray) -> npt.NDArray[np.int64] | None:
    """Days since 1970 when every time is a midnight, else None."""
    ticks = ts.astype("datetime64[us]").astype(np.int64)
    return ticks // DAY if bool(np.all(ticks % DAY == 0)) else None


def _from_text(column: pl.Series) -> pl.Series:
    text = column.str.strip_chars().str.replace(r"^(\d{4}-\d\d-\d\d)T", "$1 ")
    text = text.str.replace(r"(Z| UTC)$", "+00:00").str.replace(r" ([+-]\d\d:?\d\d)$", "$1")
    if text.str.contains(r"^\d{9,19}$").head(1).any():
        return _from_integers(text.cast(pl.Int64, strict=False))
    for form in FORMATS:
        if _parse(text.head(1), form).null_count() == 0:
            return _parse(text, form)
    return pl.Series(column.name, [None] * len(column), dtype=pl.Datetime("us"))


def _parse(text: pl.Series, form: str) -> pl.Series:
    if "%H" not in form:
        return text.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    parsed = text.str.to_datetime(form, time_unit="us", strict=False)
    return parsed.dt.replace_time_zone(None)


def _from_integers(column: pl.Series) -> pl.Series:
    numbers = column.cast(pl.Int64)
    size = int(numbers.abs().head(1).fill_null(0).item()) if len(numbers) else 0
    for limit, factor in UNITS:
        if size < limit:
            return (numbers * factor).cast(pl.Datetime("us"))
    return (numbers // 1_000).cast(pl.Datetime("us"))
