"""Read the times that files carry: ISO 8601, dates of any order, and numbers since 1970, each by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from trading.market.feeds.typed_process import POSSIBLE

DateOrder = Literal["dmy", "mdy"]
DATE_ORDERS: Final[tuple[DateOrder, ...]] = ("dmy", "mdy")
A_TIME: Final = "a time such as 2024-01-31 15:30:00, 2024-01-31T15:30:00+00:00 or seconds since 1970"
DAY_OR_MONTH: Final = (
    "expected dates that tell the day from the month, was {!r}; --dates dmy or --dates mdy says which comes first"
)
# A number says its unit by its size: seconds stay below 1e11 until the year 5138, and so on. Each has nine digits.
_UNITS: Final = (("seconds", 10**11, 10**6), ("milliseconds", 10**14, 10**3), ("microseconds", 10**17, 1))
_EPOCH: Final = r"^(-?[0-9]{9,19})(?:\.([0-9]*))?$"
_COMPACT: Final = r"^((?:19|20)[0-9][0-9])([0-9][0-9])([0-9][0-9])(?:\.0*)?(?: (.+))?$"
_YEAR_FIRST: Final = r"^([0-9]{4})[-./]([0-9]{1,2})[-./]([0-9]{1,2})(?: (.+))?$"
_YEAR_LAST: Final = r"^([0-9]{1,2})([-./])([0-9]{1,2})[-./]([0-9]{4})(?: (.+))?$"
_MONTH_NAMED: Final = ("%d-%b-%Y", "%d %b %Y", "%b %d, %Y")
_OFFSET: Final = r"^(.*:[0-9][0-9](?:\.[0-9]+)?) ?(Z|UTC|GMT|[+-][0-9][0-9]:?[0-9][0-9])$"
_CLOCK: Final = r"^([0-9]{1,2}):?([0-9][0-9]):?([0-9][0-9](?:\.[0-9]+)?)?$"
_MOMENT: Final = pl.Datetime("us")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """(n,) times of a column: in UTC and as its place's clock shows them, both naive; null where there is none.

    `form` says how they are written. A time without an offset is UTC. `ambiguous` is the first row whose day and
    month nothing tells apart, if any.
    """

    utc: pl.Series
    wall: pl.Series
    form: str
    zone: str
    ambiguous: int | None = None

    def take(self, rows: npt.NDArray[np.bool_]) -> Moments:
        """The times of a mask."""
        return replace(self, utc=self.utc.filter(rows), wall=self.wall.filter(rows))


def read_times(column: pl.Series, *, order: DateOrder | None = None) -> Moments:
    """Any column of times; each value is read by its own unit. What no calendar of ours has is no time."""
    found = _read(column, order)
    possible = (found.utc.is_between(*POSSIBLE) & found.wall.is_between(*POSSIBLE)).fill_null(value=True)
    if possible.all():
        return found
    utc, wall = (pl.select(pl.when(possible).then(each)).to_series() for each in (found.utc, found.wall))
    return replace(found, utc=utc, wall=wall)


def _read(column: pl.Series, order: DateOrder | None) -> Moments:
    if column.dtype == pl.String:
        return _from_text(column, order)
    if column.dtype.is_numeric():
        return _from_numbers(column)
    if isinstance(column.dtype, pl.Datetime):
        zone = column.dtype.time_zone
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else column
        wall = column.dt.replace_time_zone(None) if zone else column
        return Moments(utc=utc.cast(_MOMENT), wall=wall.cast(_MOMENT), form="time", zone=zone or "")
    if column.dtype == pl.Date:
        moments = column.cast(_MOMENT)
        return Moments(utc=moments, wall=moments, form="date", zone="")
    nothing = _nothing(column)
    return Moments(utc=nothing, wall=nothing, form="nothing", zone="")


def is_time(column: pl.Series) -> bool:
    """Whether a column holds times or times of day, whatever its name."""
    if column.dtype != pl.String:
        return column.dtype.is_temporal()
    first = column.drop_nulls().head(1).str.strip_chars()
    return any(bool(first.str.contains(form).any()) for form in (r"^[0-9]{1,2}:[0-9][0-9]", _YEAR_FIRST, _YEAR_LAST))


def joined(date: pl.Series, clock: pl.Series) -> pl.Series:
    """A date and a time of day in two columns as one text; null where either is missing."""
    parts = [each.cast(pl.String).str.strip_chars().alias(name) for each, name in ((date, "date"), (clock, "clock"))]
    frame = pl.DataFrame(parts).with_columns(
        pl.when(pl.col("clock").str.contains(r"^[0-9]{1,6}$")).then(_six_digits("clock")).otherwise(pl.col("clock"))
    )
    is_clock = pl.col("clock").str.contains(_CLOCK) & ~pl.col("date").str.contains(":")
    whole = pl.when(is_clock).then(pl.col("date") + " " + pl.col("clock"))
    return frame.select(whole.alias(f"{date.name} {clock.name}")).to_series()


def _six_digits(name: str) -> pl.Expr:
    """93000 is half past nine, and 930 too: a number has lost its zeros."""
    text = pl.col(name)
    is_minutes = text.str.len_chars().max() <= 4
    return pl.when(is_minutes).then(text.str.zfill(4) + "00").otherwise(text.str.zfill(6))


def _from_numbers(column: pl.Series) -> Moments:
    """Numbers since 1970, and dates such as 20240131."""
    is_whole = column == column.round() if column.dtype.is_float() else column.is_not_null()
    whole = column.cast(pl.Int64, strict=False)
    return _from_text(
        pl.select(pl.when(is_whole).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))).to_series(), None
    )


def _from_text(column: pl.Series, order: DateOrder | None) -> Moments:
    text = column.str.strip_chars().str.replace(r"^([0-9]{4}-[0-9][0-9]-[0-9][0-9])T", "$1 ")
    epoch, units = _epochs(text)
    if units and epoch.null_count() == text.null_count():
        return Moments(utc=epoch, wall=epoch, form=f"{' and '.join(units)} since 1970", zone="")
    frame = text.to_frame("text").select(
        pl.coalesce(pl.col("text").str.extract(_OFFSET, 1), "text").alias("text"),
        pl.col("text").str.extract(_OFFSET, 2).replace(["Z", "UTC", "GMT"], "+00:00").alias("offset"),
    )
    wall, ambiguous = _wall(frame["text"], order)
    shift = frame["offset"].str.replace(":", "").cast(pl.Int64, strict=False)
    minutes = pl.select(shift.sign() * (shift.abs() // 100 * 60 + shift.abs() % 100)).to_series().fill_null(0)
    utc = wall - (minutes * 60_000_000).cast(pl.Duration("us"))
    zones = frame["offset"].drop_nulls().unique().sort().to_list()
    if zones and (frame["offset"].is_null() & wall.is_not_null()).any():
        zones.append("UTC where none is named")
    forms = ["date" if _is_dates(frame["text"]) else "time", *(f"{unit} since 1970" for unit in units)]
    return Moments(
        utc=_coalesced(utc, epoch),
        wall=_coalesced(wall, epoch),
        form=" and ".join(forms),
        zone=", ".join(zones),
        ambiguous=ambiguous,
    )


def _is_dates(text: pl.Series) -> bool:
    return not text.str.contains(":|[0-9] [0-9]").any()


def _epochs(text: pl.Series) -> tuple[pl.Series, list[str]]:
    """Numbers since 1970, each by its own size, and the units that there are."""
    number = text.str.extract(_EPOCH, 1).cast(pl.Int64, strict=False)
    part = ("0." + text.str.extract(_EPOCH, 2).fill_null("0")).cast(pl.Float64, strict=False)
    size = number.abs()
    out, found, low = pl.lit(None, pl.Int64), [], 0
    for unit, limit, factor in _UNITS:
        inside = (size >= low) & (size < limit)
        if inside.any():
            found.append(unit)
        out, low = pl.when(inside).then(number * factor + (part * factor).round() * number.sign()).otherwise(out), limit
    if (size >= low).any():
        found.append("nanoseconds")
    ticks = pl.select(pl.when(size >= low).then(number // 1_000).otherwise(out)).to_series()
    return ticks.cast(pl.Int64).cast(_MOMENT), found


def _wall(text: pl.Series, order: DateOrder | None) -> tuple[pl.Series, int | None]:
    """Times of a clock on the wall from text without an offset, and the first row that does not tell day from month."""
    for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d"):  # quick, and nearly always enough
        parsed = _parsed(text, form)
        if parsed.null_count() == text.null_count():
            return parsed, None
    year_first = _pieces(text, _YEAR_FIRST, (1, 2, 3, 4))
    compact = _pieces(text, _COMPACT, (1, 2, 3, 4))
    year_last, ambiguous = _year_last(text, order)
    iso = pl.select(pl.coalesce(year_first, compact, year_last)).to_series()
    named = [_parsed(text, form) for form in _MONTH_NAMED]
    return _coalesced(_parsed(iso, "%Y-%m-%d %H:%M:%S%.f"), *named), ambiguous


def _year_last(text: pl.Series, order: DateOrder | None) -> tuple[pl.Series, int | None]:
    """Dates such as 31.01.2024 or 1/31/2024: what follows a dot or is above 12 tells which number is the day."""
    first, second = (text.str.extract(_YEAR_LAST, place).cast(pl.Int64, strict=False) for place in (1, 3))
    if order is None and not first.is_not_null().any():
        return _pieces(text, _YEAR_LAST, (4, 3, 1, 5)), None
    dotted = bool((text.str.extract(_YEAR_LAST, 2) == ".").any())
    shown = {"dmy": bool((first > 12).any()) or dotted, "mdy": bool((second > 12).any())}
    if order is None:
        told = [each for each in DATE_ORDERS if shown[each]]
        if len(told) != 1:
            return _nothing(text, pl.String), first.is_not_null().arg_max()
        order = told[0]
    return _pieces(text, _YEAR_LAST, (4, 3, 1, 5) if order == "dmy" else (4, 1, 3, 5)), None


def _pieces(text: pl.Series, form: str, places: tuple[int, int, int, int]) -> pl.Series:
    """Year, month, day and clock of a form as ISO 8601; null where a value has another form."""
    year, month, day, clock = (text.str.extract(form, place) for place in places)
    hour, minute, second = (clock.str.extract(_CLOCK, place) for place in (1, 2, 3))
    time = (
        pl.when(clock.is_null())
        .then(pl.lit("00:00:00"))
        .otherwise(hour.str.zfill(2) + ":" + minute + ":" + second.fill_null("00"))
    )
    return pl.select(year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + " " + time).to_series()


def _parsed(text: pl.Series, form: str) -> pl.Series:
    if "%H" not in form:
        return text.str.to_date(form, strict=False).cast(_MOMENT)
    return text.str.to_datetime(form, time_unit="us", strict=False)


def _coalesced(*columns: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(*columns)).to_series()


def _nothing(column: pl.Series, dtype: pl.DataType | type[pl.DataType] = _MOMENT) -> pl.Series:
    return pl.Series(column.name, [None] * len(column), dtype=dtype)
