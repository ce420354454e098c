"""VALR's order books, in our words, as its stream and its routes tell them.

Source: VALR's API documentation, read 2026-11-28.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sized
from itertools import chain, islice, zip_longest
from typing import Any, Final

from trading.market.order_book import Level, Offer
from trading.venues.answers import MOST_NUMBER
from trading.venues.streaming import Depth, read_time

MILLISECOND: Final = 1_000
MOST_CHANGES: Final = 10_000  # offers that one message changes; a venue that tells more is mistaken
MOST_OF_BOTH: Final = 100_000  # of a whole book
CHECKED: Final = 25  # offers a side
FIGURE: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
NAME: Final = re.compile(r"[0-9A-Za-z.-]{1,64}")


def changed(code: str, data: dict[str, Any], *, whole: bool = False) -> Depth:
    """What became of single orders, or, of a `whole` book, all of them. Raises: one of `helios.errors.UNREAD`."""
    _bound(
        (level["Orders"] for side in ("Bids", "Asks") for level in data[side]), MOST_OF_BOTH if whole else MOST_CHANGES
    )
    bids, asks = (
        [_offer(each["orderId"], level["Price"], each["quantity"]) for level in data[side] for each in level["Orders"]]
        for side in ("Bids", "Asks")
    )
    at, sequence, checksum = (_integer(data[name]) for name in ("LastChange", "SequenceNumber", "Checksum"))
    first = sequence - len(bids) - len(asks) + 1  # each change has a number, the last one is told
    return Depth(code, at * MILLISECOND, sequence, bids, asks, whole, first, checksum)


def aggregated(code: str, data: dict[str, Any]) -> Depth:
    """The best 40 levels of a side, all of them each time. Raises: one of `helios.errors.UNREAD`."""
    _bound((data["Bids"], data["Asks"]), MOST_CHANGES)
    for row in (*data["Bids"], *data["Asks"]):
        if row["currencyPair"] != code:
            raise ValueError(code)
    bids, asks = (
        [_offer(row["price"], row["price"], row["quantity"]) for row in data[side]] for side in ("Bids", "Asks")
    )
    return Depth(code, read_time(data["LastChange"]), _integer(data["SequenceNumber"]), bids, asks, whole=True)


def checksum(bids: Iterator[Level], asks: Iterator[Level]) -> int:
    """CRC-32 of the best offers, bids and asks by turns (“Calculating the Checksum value”)."""
    by_turns = zip_longest(*(islice(side, CHECKED) for side in (bids, asks)))
    told = (offer for offer in chain.from_iterable(by_turns) if offer is not None)
    return zlib.crc32(":".join(chain.from_iterable(told)).encode())


def _bound(parts: Iterable[Sized], most: int) -> None:
    """Look at how much there is before anything is made of it."""
    if sum(map(len, parts)) > most:
        raise ValueError(most)


def _offer(name: str, price: str, quantity: str) -> Offer:
    if not (NAME.fullmatch(name) and FIGURE.fullmatch(price) and FIGURE.fullmatch(quantity)):
        raise ValueError(name)
    if not (0 < float(price) <= MOST_NUMBER and float(quantity) <= MOST_NUMBER):
        raise ValueError(price)
    return name, price, quantity


def _integer(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError(value)
    return value
