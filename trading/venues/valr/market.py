"""VALR's market data over REST, in our words: pairs, the clock, bars of a minute, trades."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import numpy as np

from helios.errors import Transient
from trading.market.bars import FIELDS, BarTable, bar_table
from trading.market.lots import Lot
from trading.market.timestamps import stamp
from trading.market.trades import Trades
from trading.models.columns import ZERO
from trading.venues.valr.client import Client, shown

VENUE: Final = "VALR"
BUCKETS: Final = 300  # at most in one answer
TRADES: Final = 100
MINUTE_S: Final = 60
MOST: Final = Decimal(10) ** 15  # of a price, a quantity or a volume; what is more is a mistake
MOST_NUMBER: Final = float(MOST)
MOST_PLACES: Final = Decimal(18)
_CODE: Final = re.compile(r"[A-Z0-9]{1,20}")
_TIME: Final = re.compile(r"(19|2[01])[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What the venue says of one of its pairs; `code` is its own name, `symbol` the instrument's."""

    code: str
    symbol: str
    active: bool
    lot: Lot


def pairs(client: Client) -> dict[str, Pair]:
    """The pairs of the spot market by their instruments, such as VALR:BTC-ZAR."""
    found = [_pair(row) for row in _rows(client.get("/v1/public/pairs"), "pairs")]
    return {pair.symbol: pair for pair in found if pair is not None}


def skew_s(client: Client) -> float:
    """How far the venue's clock is ahead of ours, in seconds, as of the middle of the request."""
    before = datetime.now(UTC)
    told = _time(_field(client.get("/v1/public/time"), "time", "the time"))
    after = datetime.now(UTC)
    return (told - before - (after - before) / 2).total_seconds()


def minutes(client: Client, pair: Pair, after: datetime, until: datetime) -> Iterator[tuple[BarTable, datetime | None]]:
    """The 1m bars that closed in (after, until], in tables by time; both are full minutes.

    A minute without a trade has no bar. With each table comes the close of the newest minute that the venue spoke of,
    with a trade or without: what is later may not have reached it yet. Raises: as `Client.get`, and `Transient` where
    an answer is none of this pair.
    """
    while after < until:
        end = min(after + timedelta(minutes=BUCKETS), until)
        yield _minutes(client, pair, after, end)
        after = end


def _minutes(client: Client, pair: Pair, after: datetime, until: datetime) -> tuple[BarTable, datetime | None]:
    found = client.get(
        f"/v1/public/{pair.code}/buckets",
        {
            "periodSeconds": MINUTE_S,
            "startTime": int(after.timestamp()),
            "endTime": int(until.timestamp()),
            "limit": BUCKETS,
            "includeEmpty": "true",
        },
    )
    told = _rows(found, "buckets")
    rows = [bucket(row, pair.code) for row in told]
    closes = [close for row in told if after < (close := _close(row)) <= until]
    made = bars_of(pair.symbol, [row for row in rows if row is not None])
    ordered = made.take(np.argsort(made.ts, kind="stable"))
    return ordered.take((ordered.ts > stamp(after)) & (ordered.ts <= stamp(until))), max(closes, default=None)


def _close(row: Mapping[str, Any]) -> datetime:
    return _time(_field(row, "startTime", "a bucket")) + timedelta(seconds=MINUTE_S)


def bucket(row: Mapping[str, Any], code: str) -> tuple[datetime, float, float, float, float, float] | None:
    """Close, open, high, low, close and volume of a venue's bar of a minute; None where nobody traded.

    Raises: `Transient` where it is of another pair or length, or cannot be read.
    """
    named, period = _field(row, "currencyPairSymbol", "a bucket"), _field(row, "bucketPeriodInSeconds", "a bucket")
    if named != code or period != MINUTE_S:
        raise Transient(f"VALR must answer with bars of {code} of {MINUTE_S} s, was one of {named} of {period} s")
    open_, high, low, close, volume = (number(row, name) for name in FIELDS)
    if volume == 0:
        return None
    return _close(row), open_, high, low, close, volume


def bars_of(symbol: str, rows: list[tuple[datetime, float, float, float, float, float]]) -> BarTable:
    """Rows of `bucket` as a table."""
    ts = np.array([stamp(row[0]) for row in rows], "datetime64[us]")
    return bar_table(symbol, "1m", ts, [np.array([row[k] for row in rows], float) for k in range(1, 6)])


def trades(client: Client, pair: Pair, since: datetime, until: datetime) -> Trades:
    """The trades in [since, until), newest first as the venue tells them; with a key by the route with more room."""
    signed = client.key is not None
    path = f"/v1/marketdata/{pair.code}/tradehistory" if signed else f"/v1/public/{pair.code}/trades"
    span: dict[str, str | int] = {"startTime": _iso(since), "endTime": _iso(until), "limit": TRADES}
    rows: list[Mapping[str, Any]] = []
    before: dict[str, str | int] = {}
    while True:
        page = _rows(client.get(path, {**span, **before}, signed=signed), "trades")
        rows += page
        if len(page) < TRADES:
            return trades_of(pair, rows, since, until)
        last = str(_field(page[-1], "id", "a trade"))
        if before == (before := {"beforeId": last}):
            raise Transient(f"VALR must go on before trade {last} of {pair.code}, answered with it again")


def trades_of(pair: Pair, rows: list[Mapping[str, Any]], since: datetime, until: datetime) -> Trades:
    """Rows of a history as a table; those beside the time are left out."""
    for row in rows:
        named = _field(row, "currencyPair", "a trade")
        if named != pair.code:
            raise Transient(f"VALR must answer with trades of {pair.code}, was one of {named}")
    found = Trades(
        symbol=pair.symbol,
        ts=np.array([stamp(_time(_field(row, "tradedAt", "a trade"))) for row in rows], "datetime64[us]"),
        price=np.array([number(row, "price") for row in rows], float),
        quantity=np.array([number(row, "quantity") for row in rows], float),
        trade_id=np.array([str(_field(row, "id", "a trade")) for row in rows], np.str_),
        row=np.arange(1, len(rows) + 1),
    )
    return found.take((found.ts >= stamp(since)) & (found.ts < stamp(until)))


def number(row: Mapping[str, Any], name: str) -> float:
    """A figure that the venue writes as text. Raises: `Transient` where it is none that a market has."""
    value = _field(row, name, "its figures")
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not 0 <= found <= MOST_NUMBER or (isinstance(value, str) and "_" in value):
        raise Transient(f"VALR must tell {name} as a number from 0 to {MOST:f}, was {shown(value)!r}")
    return found


def _decimal(row: Mapping[str, Any], name: str, *, least: Decimal = ZERO, most: Decimal = MOST) -> Decimal:
    value = _field(row, name, "its figures")
    try:
        found = Decimal(str(value))
        if not found.is_nan() and least <= found <= most:
            return found
    except (InvalidOperation, RecursionError):
        pass
    raise Transient(f"VALR must tell {name} as a number from {least:f} to {most:f}, was {shown(value)!r}")


def _pair(row: Mapping[str, Any]) -> Pair | None:
    if row.get("currencyPairType", "SPOT") != "SPOT":
        return None
    base, quote, code = (_code(row, name) for name in ("baseCurrency", "quoteCurrency", "symbol"))
    places = _decimal(row, "baseDecimalPlaces", most=MOST_PLACES)
    return Pair(
        code=code,
        symbol=f"{VENUE}:{base}-{quote}",
        active=row.get("active", True) is True,
        lot=Lot(
            quantity_step=Decimal(1).scaleb(-int(places)),
            price_tick=_decimal(row, "tickSize", least=Decimal(1).scaleb(-int(MOST_PLACES))),
            min_notional=_decimal(row, "minQuoteAmount"),
        ),
    )


def _code(row: Mapping[str, Any], name: str) -> str:
    value = _field(row, name, "a pair")
    if not isinstance(value, str) or not _CODE.fullmatch(value):
        raise Transient(f"VALR must tell {name} in capitals and digits, was {shown(value)!r}")
    return value


def _rows(found: Any, what: str) -> list[Mapping[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise Transient(f"VALR must answer with a list of {what}, was {shown(found)!r}")
    return found


def _field(row: Any, name: str, what: str) -> Any:
    if not isinstance(row, dict) or row.get(name) is None:
        raise Transient(f"VALR must tell {name} of {what}, was {shown(row)!r}")
    return row[name]


def _time(value: Any) -> datetime:
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise Transient(f"VALR must tell times as 2025-07-15T12:19:21.501Z, was {shown(value)!r}")


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
