"""What is in a venue's answer, or the sentence that says what should have been."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np

from helios.errors import Transient
from trading.enums import Side
from trading.market.bars import BarTable, bar_table
from trading.market.timestamps import stamp
from trading.market.trades import Trades

BarRow = tuple[datetime, float, float, float, float, float]  # close in UTC, and the figures
TradeRow = tuple[datetime, float, float, str, str]  # time in UTC, price, quantity, side of the taker, id
SIDES: Final = {"buy": Side.BUY.value, "sell": Side.SELL.value}  # of the taker, as most venues tell it
MOST: Final = Decimal(10) ** 15  # of a price, a quantity or a volume; what is more is a mistake
MOST_NUMBER: Final = float(MOST)
FORMING: Final = timedelta(days=2)  # of the bar of a day, whatever is between the clocks
LONGEST: Final = 64  # letters of a figure that is kept to its last digit, and its places
MOST_SHOWN: Final = 200
NAN: Final = Decimal("NaN")
_NONE: Final = Decimal(0)
_NAME: Final = re.compile(r"[0-9A-Za-z.:_/+-]{1,64}")
_TIME: Final = re.compile(r"(19[7-9]|2[01][0-9])[0-9]-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z")


@dataclass(frozen=True, slots=True)
class Answers:
    """Reads what one venue answers. Each method raises `Transient` where it does not find what it should."""

    venue: str

    def rows(self, found: Any, what: str) -> list[Mapping[str, Any]]:
        """A list of objects."""
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Transient(f"{self.venue} must answer with a list of {what}, was {shown(found)!r}")
        return found

    def field(self, row: Any, name: str, what: str) -> Any:
        """The value of that name, which is there and not null."""
        if not isinstance(row, dict) or row.get(name) is None:
            raise Transient(f"{self.venue} must tell {name} of {what}, was {shown(row)!r}")
        return row[name]

    def number(self, row: Any, name: str) -> float:
        """A figure of a market, as a number or as text."""
        try:  # two of each trade of a stream: what is asked first is what is usual
            value = row[name]
            found = float(value)
            if 0 <= found <= MOST_NUMBER and not isinstance(value, bool) and _plain(value):
                return found
        except (KeyError, TypeError, ValueError, OverflowError):
            value = self.field(row, name, "its figures")
        raise Transient(f"{self.venue} must tell {name} as a number from 0 to {MOST:f}, was {shown(value)!r}")

    def loose(self, row: Any, name: str) -> float:
        """The same, NaN where it is no figure of a market: its bar or trade breaks a rule, and no other one with it."""
        try:
            return self.number(row, name)
        except Transient:
            return math.nan

    def decimal(self, row: Any, name: str, *, least: Decimal = _NONE, most: Decimal = MOST) -> Decimal:
        """A figure that is kept to its last digit."""
        value = self.field(row, name, "its figures")
        try:
            text = str(value)
            found = Decimal(text) if len(text) <= LONGEST and _plain(text) else NAN
            if not found.is_nan() and least <= found <= most and found.adjusted() >= -LONGEST:
                return found
        except (InvalidOperation, RecursionError):
            pass
        raise Transient(f"{self.venue} must tell {name} as a number from {least:f} to {most:f}, was {shown(value)!r}")

    def named(self, row: Any, name: str) -> str:
        """What a trade is called: a word or a number."""
        value = self.field(row, name, "a trade")
        if not _NAME.fullmatch(shown(value)):
            raise Transient(f"{self.venue} must tell {name} of a trade as a word or a number, was {shown(value)!r}")
        return str(value)

    def time(self, value: Any) -> datetime:
        """A moment in UTC."""
        try:
            if isinstance(value, str) and _TIME.fullmatch(value):
                return datetime.fromisoformat(value)
        except ValueError:
            pass
        raise Transient(f"{self.venue} must tell times as 2025-07-15T12:19:21.501Z, was {shown(value)!r}")

    def come(self, closes: Iterable[datetime]) -> None:
        """Refuse bars, also of minutes in which nobody traded, with one of a time that no forming bar is of.

        It may be any minute's: without it those above would be made as if nobody had traded then.
        """
        last = max(closes, default=None)
        if last is not None and last > datetime.now(UTC) + FORMING:
            told = f"{last:%Y-%m-%d %H:%M} UTC"
            raise Transient(f"{self.venue} must tell bars of times that have come, was one that ends at {told}")


def _plain(value: Any) -> bool:
    """Whether a text has no digits of another script, and none that Python alone takes together by underscores."""
    return not isinstance(value, str) or (value.isascii() and "_" not in value)


def bars_of(symbol: str, timeframe: str, rows: Sequence[BarRow]) -> BarTable:
    """Bars as a table, in the order in which they came."""
    ts = np.array([stamp(row[0]) for row in rows], "datetime64[us]")
    return bar_table(symbol, timeframe, ts, [np.array([row[k] for row in rows], float) for k in range(1, 6)])


def trades_of(symbol: str, rows: Sequence[TradeRow], after: datetime, until: datetime) -> Trades:
    """The trades of [after, until) as a table, in the order in which they came."""
    ts, price, quantity, side, trade_id = zip(*rows, strict=True) if rows else [()] * 5
    told = Trades(
        symbol=symbol,
        ts=np.array([stamp(each) for each in ts], "datetime64[us]"),
        price=np.array(price, float),
        quantity=np.array(quantity, float),
        trade_id=np.array(trade_id, np.str_),
        side=np.array(side, np.str_),
        row=np.arange(1, len(rows) + 1),
    )
    return told.take((told.ts >= stamp(after)) & (told.ts < stamp(until)))


def between(table: BarTable, after: datetime, until: datetime) -> BarTable:
    """The bars that closed in (after, until], by time."""
    ordered = table.take(np.argsort(table.ts, kind="stable"))
    return ordered.take((ordered.ts > stamp(after)) & (ordered.ts <= stamp(until)))


def shown(value: Any) -> str:
    """What a venue has told, for a sentence."""
    try:
        return str(value)[:MOST_SHOWN]
    except RecursionError:
        return f"a {type(value).__name__}"
