"""What the messages of VALR's stream say; the shapes are those of its documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helios.errors import Transient
from trading.venues.streaming import Depth, MinuteBar, Ticker, Trade
from trading.venues.valr import messages

AT = 1_644_301_604_645
TRADE = {
    "price": "9500",
    "quantity": "0.001",
    "currencyPair": "BTCZAR",
    "takerSide": "sell",
    "tradedAt": "2019-04-25T19:51:55.393Z",
}
BUCKET = {
    "currencyPairSymbol": "BTCZAR",
    "bucketPeriodInSeconds": 60,
    "startTime": "2019-04-25T19:41:00Z",
    **dict(zip(("open", "high", "low", "close", "volume"), ("1", "3", "0.5", "2", "8"), strict=True)),
}


SUMMARY = {
    "currencyPair": "BTCZAR",
    "askPrice": "297357",
    "bidPrice": "297205",
    "lastTradedPrice": "297161",
    "previousClosePrice": "296596",
    "baseVolume": "244.5",
    "highPrice": "300180",
    "lowPrice": "281930",
    "created": "2022-11-14T08:30:26.037Z",
    "changeFromPrevious": "-0.19",
    "markPrice": "0",
}


def sent(kind: str, **data: Any) -> bytes:
    return json.dumps({"type": kind, "currencyPairSymbol": "BTCZAR", "data": data}).encode()


def full(price: Any = "45363", quantity: Any = "0.0019", **other: Any) -> bytes:
    asks = [{"Price": price, "Orders": [{"orderId": "1d2e-77", "quantity": quantity}]}]
    told = {"LastChange": AT, "Asks": asks, "Bids": [], "SequenceNumber": 7, "Checksum": 9} | other
    return sent("FULL_ORDERBOOK_UPDATE", **told)


def aggregated(pair: str = "BTCZAR") -> bytes:
    row = {"side": "buy", "quantity": "1.5", "price": "0.25", "currencyPair": pair, "orderCount": 3}
    return sent(
        "AGGREGATED_ORDERBOOK_UPDATE", Asks=[], Bids=[row], LastChange="2020-06-01T11:54:51.634Z", SequenceNumber=4
    )


def test_trades_bars_and_order_books_are_read() -> None:
    figures = ("BTCZAR", 1_556_221_915_393_000, 9500.0, 0.001, "SELL")
    assert messages.read(sent("NEW_TRADE", **TRADE)) == Trade(*figures)
    assert messages.read(sent("NEW_TRADE", **TRADE, id="31934cc3-ec36")) == Trade(*figures, "31934cc3-ec36")
    assert messages.read(sent("NEW_TRADE_BUCKET", **BUCKET)) == MinuteBar(
        "BTCZAR", 1_556_221_320_000_000, (1.0, 3.0, 0.5, 2.0, 8.0)
    )
    asks = [("1d2e-77", "45363", "0.0019")]
    assert messages.read(full()) == Depth("BTCZAR", AT * 1_000, 7, [], asks, whole=False, first=7, checksum=9)
    bids = [("0.25", "0.25", "1.5")]
    assert messages.read(aggregated()) == Depth("BTCZAR", 1_591_012_491_634_000, 4, bids, [], whole=True)
    assert messages.read(b'{"type":"PONG"}') is None


def test_of_a_market_it_is_told_what_there_is() -> None:
    assert messages.read(sent("MARKET_SUMMARY_UPDATE", **SUMMARY)) == Ticker(
        code="BTCZAR",
        at=1_668_414_626_037_000,
        bid=297_205.0,
        ask=297_357.0,
        last=297_161.0,
        mark=None,
        high=300_180.0,
        low=281_930.0,
        volume=244.5,
        change=-0.19,
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[1]",
        full()[:-9],
        full(price="-1"),
        full(price="0"),
        full(price="1e3"),
        full(price=45363),
        full(quantity="NaN"),
        full(quantity="0,00102078"),
        full(quantity="9" * 20),
        full(SequenceNumber=1.5),
        full(SequenceNumber=True),
        full(LastChange=-1),
        full(Bids=None),
        full(Bids=[{"Price": "1"}]),
        aggregated("ETHZAR"),
        full(Bids=[{"Price": "1", "Orders": [{"orderId": "a", "quantity": "1"}] * 10_001}]),
        sent("AGGREGATED_ORDERBOOK_UPDATE", Asks=[], Bids=[{}] * 10_001),
        sent("NEW_TRADE", **TRADE | {"quantity": "0"}),
        sent("NEW_TRADE", **TRADE | {"price": "0"}),
        sent("NEW_TRADE", **TRADE | {"tradedAt": "2019-04-25"}),
        sent("NEW_TRADE", **TRADE | {"id": "31934cc3\tBUY"}),
        sent("NEW_TRADE", **TRADE | {"id": 7}),
        sent("NEW_TRADE", **TRADE).replace(b'"currencyPairSymbol": "BTCZAR"', b'"currencyPairSymbol": ["BTCZAR"]'),
        sent("NEW_TRADE", **TRADE | {"currencyPair": ["BTCZAR"]}),
        sent("NEW_TRADE_BUCKET", **BUCKET | {"startTime": "2019-04-25T19:41:30Z"}),
        sent("NEW_TRADE_BUCKET", **BUCKET | {"bucketPeriodInSeconds": 300}),
        sent("MARKET_SUMMARY_UPDATE", **SUMMARY | {"currencyPair": "ETHZAR"}),
        sent("MARKET_SUMMARY_UPDATE", **SUMMARY | {"askPrice": "-1"}),
        sent("MARKET_SUMMARY_UPDATE", **SUMMARY | {"changeFromPrevious": "much"}),
        sent("MARKET_SUMMARY_UPDATE", **SUMMARY | {"changeFromPrevious": 1.5}),
        b'{"type":["NEW_TRADE"]}',
        b"[" * 2_000 + b"]" * 2_000,
        b'{"type":"NEW_TRADE","currencyPairSymbol":' + b"[" * 1_000 + b"]" * 1_000 + b',"data":{}}',
    ],
)
def test_what_is_no_message_of_a_market_is_refused_in_a_sentence(message: bytes) -> None:
    with pytest.raises(Transient, match=r"^VALR(.s stream)? must "):
        messages.read(message)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:00-23:59", "1969-12-31T23:59:00Z"])
@pytest.mark.parametrize(
    ("kind", "data", "name"),
    [
        ("MARKET_SUMMARY_UPDATE", SUMMARY, "created"),
        ("NEW_TRADE", TRADE, "tradedAt"),
        ("NEW_TRADE_BUCKET", BUCKET, "startTime"),
    ],
)
def test_a_time_of_no_market_is_told(kind: str, data: dict[str, Any], name: str, at: str) -> None:
    with pytest.raises(Transient, match=r"must (send messages as documented|tell times as)"):
        messages.read(sent(kind, **data | {name: at}))
