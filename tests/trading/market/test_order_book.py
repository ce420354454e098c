"""An order book made of changes: exactly the venue's at every moment, or known to be of no use."""

from __future__ import annotations

import gzip
import json
import zlib
from bisect import bisect_right
from typing import Any

import pytest

from tests.support.ingest_bars import needs
from trading.market.order_book import MOST_OFFERS, Level, Offer, OrderBook, OutOfStep
from trading.venues.valr.order_books import checksum

BIDS = [("45147", "0.011"), ("45121", "0.00169")]
ASKS = [("45363", "0.01102078"), ("45662", "0.0018"), ("45891", "0.0038")]


def of(*levels: Level) -> list[Offer]:
    """Whole levels as what is offered."""
    return [(price, price, quantity) for price, quantity in levels]


def book() -> OrderBook:
    made = OrderBook(symbol="VALR:BTC-USDC", checksum=checksum)
    made.whole(1, 100, of(*BIDS), of(*ASKS))
    return made


def told(made: OrderBook) -> int:
    """Its checksum as the venue would tell it."""
    return checksum(made._bids.offers(), made._asks.offers())


def test_a_change_sets_adds_and_removes_levels() -> None:
    made = book()
    made.change(2, 101, 101, of(("45121", "0"), ("45200", "1")), of(("45363", "0.001"), ("45662", "0.0"), ("1e5", "2")))
    assert made.best(9) == (
        [("45200", "1"), ("45147", "0.011")],
        [("45363", "0.001"), ("45891", "0.0038"), ("1e5", "2")],
    )
    assert made.best(1) == ([("45200", "1")], [("45363", "0.001")])
    assert (made.sequence, made.at) == (101, 2)


def test_what_was_told_before_says_nothing_again() -> None:
    made = book()
    made.change(2, 101, 101, of(("45200", "1")), [])
    made.change(3, 101, 101, of(("45200", "9")), [])
    made.whole(1, 100, of(*BIDS), of(*ASKS))
    assert made.best(1)[0] == [("45200", "1")]


def test_a_change_that_was_missed_loses_the_book_until_all_of_it_is_told() -> None:
    made = book()
    with pytest.raises(OutOfStep, match=r"of VALR:BTC-USDC must go on with change 101, was 102"):
        made.change(2, 102, 102, of(("45200", "1")), [])
    made.change(3, 103, 103, of(("45300", "1")), [])
    assert made.sequence is None
    made.whole(4, 200, of(*BIDS), of(*ASKS))
    made.change(5, 201, 201, of(("45300", "1")), [])
    assert made.best(1)[0] == [("45300", "1")]


def test_the_checksum_is_that_of_the_venues_documentation() -> None:
    made, text = book(), "45147:0.011:45363:0.01102078:45121:0.00169:45662:0.0018:45891:0.0038"
    assert told(made) == zlib.crc32(text.encode())
    made.change(2, 101, 101, of(("45147", "0.011")), [], told(made))
    with pytest.raises(OutOfStep, match="must give the venue's checksum 7, gave"):
        made.change(3, 102, 102, [], [], 7)
    assert made.sequence is None


def test_offers_of_one_price_are_told_together_and_keep_their_turn() -> None:
    made = OrderBook(symbol="A", checksum=checksum)
    made.whole(1, 5, [("a", "10", "1.5"), ("b", "10.0", "0.25"), ("c", "9", "1")], [("d", "11", "2")])
    assert made.best(2) == ([("10", "1.75"), ("9", "1")], [("11", "2")])
    made.change(2, 6, 8, [("a", "10", "0.5"), ("e", "10", "3"), ("c", "9.5", "1")], [])
    assert made.best(2)[0] == [("10", "3.75"), ("9.5", "1")]
    assert told(made) == zlib.crc32(b"a:0.5:d:2:b:0.25:e:3:c:1")
    made.change(3, 9, 11, [("a", "10", "0"), ("b", "10", "0"), ("e", "10", "0")], [])
    assert made.best(2)[0] == [("9.5", "1")]


def test_the_checksum_is_of_25_levels_a_side() -> None:
    made = OrderBook(symbol="A", checksum=checksum)
    bids, asks = [(str(100 - n), "1") for n in range(30)], [(str(200 + n), "2") for n in range(30)]
    made.whole(1, 1, of(*bids), of(*asks))
    by_turns = [part for pair in zip(bids[:25], asks[:25], strict=True) for level in pair for part in level]
    assert told(made) == zlib.crc32(":".join(by_turns).encode())


@pytest.mark.parametrize(
    ("bids", "asks", "sentence"),
    [
        ([("45363", "1")], [], "must have its best bid below its best ask, was 45363 to 45363"),
        ([], [("45000.5", "1")], "must have its best bid below its best ask, was 45147 to 45000.5"),
        ([(f"{n}e-1", "1") for n in range(1, MOST_OFFERS + 2)], [], f"must have at most {MOST_OFFERS} offers a side"),
    ],
)
def test_a_book_that_no_market_has_is_lost(bids: Any, asks: Any, sentence: str) -> None:
    made = book()
    with pytest.raises(OutOfStep, match=sentence):
        made.change(2, 101, 101, of(*bids), of(*asks))
    assert made.sequence is None


@pytest.mark.parametrize("name", ["btcusdt", "ethusdt"])
def test_a_real_feed_of_changes_gives_the_best_offers_that_its_venue_told(name: str) -> None:
    """Some six minutes of an exchange that tells its best bid and ask beside, each with the number of its change."""
    with gzip.open(needs("orderbook", f"binance_spot_{name}_20240808.gz")) as lines:
        told = [json.loads(line.split(b" ", 1)[1]) for line in lines]
    bests = sorted((one["data"] for one in told if "bookTicker" in one.get("stream", "")), key=lambda best: best["u"])
    numbers = [best["u"] for best in bests]
    made, compared = OrderBook(symbol=name), 0
    for one in sorted(told, key=lambda one: "lastUpdateId" not in one):  # changes came before the answer to the request
        if "lastUpdateId" in one:
            made.whole(0, one["lastUpdateId"], of(*one["bids"]), of(*one["asks"]))
        elif "depth" in one["stream"]:
            data = one["data"]
            made.change(0, data["U"], data["u"], of(*data["b"]), of(*data["a"]))
            place = bisect_right(numbers, made.sequence or 0)
            if made.sequence is None or place == 0:
                continue
            best = bests[place - 1]
            assert made.best(1) == ([(best["b"], best["B"])], [(best["a"], best["A"])]), data["u"]
            compared += 1
    assert compared > 3_000
