"""Read the numbers that files carry: with a decimal point or comma, with or without groups of thousands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import polars as pl

DecimalMark = Literal["point", "comma"]
MARKS: Final[dict[DecimalMark, str]] = {"point": ".", "comma": ","}
_EMPTY: Final = r"(?i)^(null|none|nan|n/?a|#n/a|-+)$"
_GROUPS: Final = r"^([+-]?[0-9]{1,3}(?:[ '\u2019\u00a0\u2009\u202f][0-9]{3})+)([.,][0-9]*)?$"  # no mark parts them
# In both, D stands for the decimal mark and G for the other one. 1D234 alone is no evidence: it may be 1G234.
_EVIDENCE: Final = (
    r"^[+-]?([0-9]*D([0-9]{0,2}|[0-9]{4,})|[0-9]{4,}D[0-9]{3}|0D[0-9]+|[0-9]+D[0-9]+[eE].+"
    r"|[0-9]{1,3}(G[0-9]{2,3})+D[0-9]*|[0-9]{1,3}(G[0-9]{2,3})+G[0-9]{3})$"
)
_NUMBER: Final = r"^[+-]?(([0-9]+|[0-9]{1,3}(G[0-9]{2,3})*G[0-9]{3})(D[0-9]*)?|D[0-9]+)([eE][+-]?[0-9]+)?$"


def decimal_of(columns: Mapping[str, pl.Series], *, separator: str) -> DecimalMark | None:
    """The decimal mark that a file's numbers show; None where 1,234 may be one and a bit as well as a thousand.

    Where commas separate the values and none has one, a point is a decimal one.
    """
    text = [column for column in columns.values() if column.dtype == pl.String]
    if separator in {",", ""} and not any(column.str.contains(",", literal=True).any() for column in text):
        return "point"
    whole = pl.concat([bare(column).rename("") for column in text])
    shown: list[DecimalMark] = [each for each in MARKS if whole.str.contains(_pattern(_EVIDENCE, each)).any()]
    if not shown and not whole.str.contains(r"^[+-]?[0-9]{1,3}[.,][0-9]{3}$").any():
        return "point"
    return shown[0] if len(shown) == 1 else None


def numbers(column: pl.Series, decimal: DecimalMark) -> pl.Series:
    """(n,) float64; null where a value is empty or no number that is written so."""
    if column.dtype.is_numeric():
        return column.cast(pl.Float64, strict=False)
    if column.dtype != pl.String:
        return pl.Series(column.name, [None] * len(column), dtype=pl.Float64)
    mark, other = MARKS[decimal], MARKS["comma" if decimal == "point" else "point"]
    if decimal == "point":  # quick, and nearly always enough
        plain = column.str.strip_chars().cast(pl.Float64, strict=False)
        if plain.null_count() == column.null_count() and not plain.is_nan().any():
            return plain
    text = bare(column)
    written = pl.select(pl.when(text.str.contains(_pattern(_NUMBER, decimal))).then(text)).to_series()
    joined = written.str.replace_all(other, "", literal=True).str.replace(mark, ".", literal=True)
    return joined.cast(pl.Float64, strict=False).rename(column.name)


def bare(column: pl.Series) -> pl.Series:
    """The text of numbers without blanks, a currency's sign and groups that are parted by blanks; null where empty."""
    text = column.str.strip_chars().str.replace(r"^([+-]?)[$€£¥]\s*", "$1")
    if text.str.contains(_GROUPS).any():
        grouped = text.str.contains(_GROUPS)
        text = pl.select(pl.when(grouped).then(text.str.replace_all(r"[^0-9.,+-]", "")).otherwise(text)).to_series()
    empty = (text == "") | text.str.contains(_EMPTY)
    return pl.select(pl.when(~empty).then(text)).to_series().rename(column.name)


def _pattern(form: str, decimal: DecimalMark) -> str:
    mark, other = ("[.]", "[,]") if decimal == "point" else ("[,]", "[.]")
    return form.replace("D", mark).replace("G", other)
