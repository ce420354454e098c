"""What the messages of VALR's stream say, in our words.

Source: VALR's API documentation, WebSocket API, read 2026-11-28.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import orjson

from helios.errors import Transient
from trading.enums import Side
from trading.venues.answers import MOST_NUMBER
from trading.venues.streaming import MINUTE_US, Bucket, Depth, Message, Offer, Trade, microseconds
from trading.venues.valr.market import bucket, number

SIDES: Final = {"buy": Side.BUY.value, "sell": Side.SELL.value}
TRADES: Final = "NEW_TRADE"
BUCKETS: Final = "NEW_TRADE_BUCKET"
WHOLE: Final = "FULL_ORDERBOOK_SNAPSHOT"
CHANGES: Final = "FULL_ORDERBOOK_UPDATE"
AGGREGATED: Final = "AGGREGATED_ORDERBOOK_UPDATE"
MILLISECOND: Final = 1_000
_NAME: Final = re.compile(r"[0-9A-Za-z.-]{1,64}")
_FIGURE: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")


def read(message: bytes | str) -> Message | None:
    """What a message says; None where it is of another kind. Raises: `Transient` where it cannot be read."""
    try:
        found = orjson.loads(message)
        reader = _READERS.get(found["type"])
        if reader is None:
            return None
        return reader(_text(found["currencyPairSymbol"]), found["data"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Transient(f"VALR's stream must send messages as documented, sent {message[:80]!r}") from error


def _trade(code: str, data: dict[str, Any]) -> Trade:
    price, quantity = number(data, "price"), number(data, "quantity")
    if data["currencyPair"] != code or not (price and quantity):
        raise ValueError(code)
    name = data.get("id", "")  # as over REST; the venue's older examples have none
    if name and not _NAME.fullmatch(name):
        raise ValueError(name)
    return Trade(code, microseconds(data["tradedAt"]), price, quantity, SIDES[data["takerSide"]], name)


def _bucket(code: str, data: dict[str, Any]) -> Bucket:
    found = bucket(data, code)
    start = microseconds(data["startTime"])
    if start % MINUTE_US:
        raise ValueError(start)
    return Bucket(code, start + MINUTE_US, None if found is None else found[1:])


def _depth(code: str, data: dict[str, Any], *, whole: bool = False) -> Depth:
    bids, asks = (
        [_offer(each["orderId"], level["Price"], each["quantity"]) for level in data[side] for each in level["Orders"]]
        for side in ("Bids", "Asks")
    )
    at, sequence, checksum = (_whole(data[name]) for name in ("LastChange", "SequenceNumber", "Checksum"))
    return Depth(code, at * MILLISECOND, sequence, bids, asks, whole, checksum)


def _aggregated(code: str, data: dict[str, Any]) -> Depth:
    """The best 40 levels of a side, all of them in each message."""
    for row in (*data["Bids"], *data["Asks"]):
        if row["currencyPair"] != code:
            raise ValueError(code)
    bids, asks = (
        [_offer(row["price"], row["price"], row["quantity"]) for row in data[side]] for side in ("Bids", "Asks")
    )
    return Depth(code, microseconds(data["LastChange"]), _whole(data["SequenceNumber"]), bids, asks, whole=True)


def _offer(name: str, price: str, quantity: str) -> Offer:
    if not (_NAME.fullmatch(name) and _FIGURE.fullmatch(price) and _FIGURE.fullmatch(quantity)):
        raise ValueError(name)
    if not (0 < float(price) <= MOST_NUMBER and float(quantity) <= MOST_NUMBER):
        raise ValueError(price)
    return name, price, quantity


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value))
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError(value)
    return value


_READERS: Final[dict[str, Callable[[str, dict[str, Any]], Message]]] = {
    TRADES: _trade,
    BUCKETS: _bucket,
    WHOLE: partial(_depth, whole=True),
    CHANGES: _depth,
    AGGREGATED: _aggregated,
}
