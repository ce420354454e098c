"""Whose bars the rows of a file are, where it has a column that says so. Pure."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from helios.errors import DataError
from trading.market.feeds.file_columns import plain
from trading.market.feeds.file_text import Sheet
from trading.symbols import split

SYMBOLS: Final = frozenset({"symbol", "ticker", "tic", "pair", "instrument"})
# These tell instruments apart as well, though not by the symbol that somebody asks for.
OTHERS: Final = frozenset({"name", "code", "isin", "cusip", "figi", "permno", "asset_id", "security", "stock", "coin"})
SHOWN: Final = 5


def rows_of(sheet: Sheet, symbol: str, source: str, *, chosen: str = "") -> Sheet:
    """The rows of one instrument: those that have `chosen` in a column of symbols, else all where all are of `symbol`.

    Raises: DataError where a file holds several instruments, another one, or none of that name.
    """
    columns = [name for name in sheet.frame.columns if plain(name) in SYMBOLS | OTHERS]
    written = {name: sheet.frame[name].cast(pl.String, strict=False).str.strip_chars() for name in columns}
    found = {name: _found(values) for name, values in written.items()}
    if chosen:
        return _chosen(sheet, written, found, source, chosen)
    for name in filter(found.get, columns):
        first, *others = found[name]
        if others:
            raise DataError(
                f"{_place(sheet, source, name, written[name], others[0])}: expected bars of one instrument, was "
                f"{others[0]!r} beside {first!r}; --file-symbol says the rows of which one to read"
            )
        if plain(name) in SYMBOLS and not _agree(first, symbol):
            raise DataError(
                f"{_place(sheet, source, name, written[name], first)}: expected bars of {symbol}, was {first!r}; "
                f"--file-symbol {first} reads them as {symbol}"
            )
    return sheet


def _found(values: pl.Series) -> list[str]:
    """The names that a column has, each as it is first written: case does not count."""
    unique = [value for value in values.unique(maintain_order=True) if value]
    return list({value.upper(): value for value in reversed(unique)}.values())[::-1]


def _place(sheet: Sheet, source: str, column: str, values: pl.Series, value: str) -> str:
    return f"{source} row {sheet.rows[values.index_of(value)]}, column {column}"


def _chosen(
    sheet: Sheet, written: dict[str, pl.Series], found: dict[str, list[str]], source: str, chosen: str
) -> Sheet:
    for values in written.values():
        rows = (values.str.to_uppercase() == chosen.upper()).fill_null(value=False)
        if rows.any():
            return sheet.take(rows.to_numpy())
    shown = "; ".join(f"column {name} has {', '.join(names[:SHOWN])}" for name, names in found.items())
    nothing = f"it has no column such as symbol or ticker, but {sheet.has}"
    raise DataError(f"{source} must have rows of {chosen}, that --file-symbol names; {shown or nothing}")


def _agree(written: str, symbol: str) -> bool:
    """Whether a file may call an instrument so: BTCUSD is BTC/USD, AAPL.US and NASDAQ:AAPL are AAPL; BRK.A no BRK.B."""
    one, other = (re.findall(r"[A-Z0-9&]+", split(name)[1].upper()) for name in (written, symbol))
    is_part = one[:1] == other[:1] and {len(one), len(other)} == {1, 2}
    return is_part or "".join(one) == "".join(other)
