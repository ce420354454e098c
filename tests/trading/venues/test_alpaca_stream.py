"""What the messages of Alpaca's stream say; the shapes are those that alpaca-py reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from helios.errors import Transient
from trading.venues.alpaca.client import Key
from trading.venues.alpaca.stream import Stream
from trading.venues.streaming import Depth, MinuteBar, Trade

STREAM = Stream("http://127.0.0.1:9", "/v2/iex", Key(key_id="id", secret="secret"))
BAR = {"T": "b", "S": "AAPL", "o": 10, "h": 12.5, "l": 9, "c": 11, "v": 300, "t": "2026-01-05T15:00:00Z", "n": 2}
TRADE = {"T": "t", "S": "BTC/USD", "p": 65_000.5, "s": 0.25, "t": "2026-01-05T15:00:07.123456789Z", "tks": "S", "i": 7}
QUOTE = {"T": "q", "S": "AAPL", "bp": 9.98, "bs": 200, "ap": 10, "as": 1, "t": "2026-01-05T15:00:07.123456789Z"}
START = int(datetime(2026, 1, 5, 15, tzinfo=UTC).timestamp() * 1_000_000)


def read(*messages: Any) -> Any:
    return STREAM.read(json.dumps(messages).encode())


@pytest.mark.parametrize("kind", ["b", "u"])
def test_a_bar_and_a_corrected_one_are_named_by_their_closes(kind: str) -> None:
    assert read(BAR | {"T": kind}) == [MinuteBar("AAPL", START + 60_000_000, (10, 12.5, 9, 11, 300))]


def test_a_bar_that_is_made_of_quotes_is_one_without_a_trade() -> None:
    assert read(BAR | {"v": 0}) == [MinuteBar("AAPL", START + 60_000_000, None)]


def test_a_trade_of_a_coin_has_the_side_of_its_taker() -> None:
    assert read(TRADE) == [Trade("BTC/USD", START + 7_123_456, 65_000.5, 0.25, "SELL", "7")]


def test_of_a_trade_of_a_stock_no_side_is_known() -> None:
    told = {name: value for name, value in TRADE.items() if name != "tks"} | {"S": "AAPL"}
    assert read(told) == [Trade("AAPL", START + 7_123_456, 65_000.5, 0.25, "", "7")]


@pytest.mark.parametrize(
    ("changed", "bids", "asks"),
    [
        ({}, [("9.98", "9.98", "200")], [("10", "10", "1")]),
        ({"bp": 0, "bs": 0}, [], [("10", "10", "1")]),
        ({"ap": 0}, [("9.98", "9.98", "200")], []),
    ],
)
def test_a_quote_is_the_best_of_an_order_book(changed: Any, bids: Any, asks: Any) -> None:
    at = START + 7_123_456
    assert read(QUOTE | changed) == [Depth("AAPL", at, at, bids, asks, whole=True)]


def test_a_message_tells_several_things_and_those_of_another_kind_are_passed_over() -> None:
    others = [{"T": "success", "msg": "connected"}, {"T": "s", "S": "AAPL"}, {"T": "d", "S": "AAPL"}]
    assert [one.code for one in read(BAR, *others, TRADE)] == ["AAPL", "BTC/USD"]


@pytest.mark.parametrize(
    "message",
    [
        b"not json",
        b"{}x",
        b"7",
        b"[7]",
        b"[{}]",
        json.dumps([BAR])[:40].encode(),
        json.dumps([BAR | {"t": "2026-01-05T15:00:30Z"}]).encode(),
        json.dumps([BAR | {"t": "soon"}]).encode(),
        json.dumps([BAR | {"t": 7}]).encode(),
        json.dumps([BAR | {"S": None}]).encode(),
        json.dumps([BAR | {"v": "many"}]).encode(),
        json.dumps([BAR | {"h": -1}]).encode(),
        json.dumps([TRADE | {"tks": "?"}]).encode(),
        json.dumps([TRADE | {"i": "7\t"}]).encode(),
        json.dumps([QUOTE | {"bp": -1}]).encode(),
        json.dumps([QUOTE | {"as": "many"}]).encode(),
        json.dumps([{"T": "q", "S": "AAPL"}]).encode(),
        b"[" * 900 + b"]" * 900,
    ],
)
def test_what_cannot_be_read_is_told(message: bytes) -> None:
    with pytest.raises(Transient, match=r"^Alpaca(.s stream)? must "):
        STREAM.read(message)
