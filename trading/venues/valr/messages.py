"""What the messages of VALR's stream say, in our words.

Source: VALR's API documentation, WebSocket API, read 2026-11-28.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import orjson

from helios.errors import UNREAD, Transient
from trading.market.timestamps import MINUTE, microseconds
from trading.venues.answers import SIDES
from trading.venues.streaming import Message, MinuteBar, Ticker, Trade, read_time
from trading.venues.valr.market import bucket, number
from trading.venues.valr.order_books import FIGURE, NAME, aggregated, changed

TRADES: Final = "NEW_TRADE"
BUCKETS: Final = "NEW_TRADE_BUCKET"
WHOLE: Final = "FULL_ORDERBOOK_SNAPSHOT"
CHANGES: Final = "FULL_ORDERBOOK_UPDATE"
AGGREGATED: Final = "AGGREGATED_ORDERBOOK_UPDATE"
SUMMARY: Final = "MARKET_SUMMARY_UPDATE"


def read(message: bytes | str) -> Message | None:
    """What a message says; None where it is of another kind. Raises: `Transient` where it cannot be read."""
    try:
        found = orjson.loads(message)
        reader = _READERS.get(found["type"])
        if reader is None:
            return None
        return reader(_text(found["currencyPairSymbol"]), found["data"])
    except UNREAD as error:
        raise Transient(f"VALR's stream must send messages as documented, sent {message[:80]!r}") from error


def _trade(code: str, data: dict[str, Any]) -> Trade:
    price, quantity = number(data, "price"), number(data, "quantity")
    if data["currencyPair"] != code or not (price and quantity):
        raise ValueError(code)
    name = data.get("id", "")  # as over REST; the venue's older examples have none
    if name and not NAME.fullmatch(name):
        raise ValueError(name)
    return Trade(code, read_time(data["tradedAt"]), price, quantity, SIDES[data["takerSide"]], name)


def _bucket(code: str, data: dict[str, Any]) -> MinuteBar:
    close, figures = bucket(data, code)
    at = microseconds(close)
    if at % MINUTE:
        raise ValueError(at)
    return MinuteBar(code, at, figures)


def _ticker(code: str, data: dict[str, Any]) -> Ticker:
    if data["currencyPair"] != code:
        raise ValueError(code)
    names = ("bidPrice", "askPrice", "lastTradedPrice", "markPrice", "highPrice", "lowPrice")
    bid, ask, last, mark, high, low = (number(data, name) or None for name in names)  # 0 says that there is none
    return Ticker(
        code=code,
        at=read_time(data["created"]),
        bid=bid,
        ask=ask,
        last=last,
        mark=mark,
        high=high,
        low=low,
        volume=number(data, "baseVolume"),
        change=_signed(data["changeFromPrevious"]),
    )


def _signed(text: str) -> float:
    if not FIGURE.fullmatch(text.removeprefix("-")):
        raise ValueError(text)
    return float(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value))
    return value


_READERS: Final[dict[str, Callable[[str, dict[str, Any]], Message]]] = {
    TRADES: _trade,
    BUCKETS: _bucket,
    WHOLE: partial(changed, whole=True),
    CHANGES: changed,
    AGGREGATED: aggregated,
    SUMMARY: _ticker,
}
