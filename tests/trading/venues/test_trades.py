"""Public trades over REST, of each venue page by page over a real socket: all of them, each once, and none else's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from helios.errors import DataError, Rejected, Transient
from tests.support.venues import alpaca as stock_venue
from tests.support.venues import binance as coin_venue
from tests.support.venues.tape import Tape, taped
from tests.support.venues.valr import StandIn
from tests.support.xrp_eth import real_tape
from tiers.live.feed.trade_download import FetchedTrades, fetch_trades
from trading.market.timestamps import moment
from trading.market.trades import Trades, concatenated
from trading.models import MarketTrade
from trading.venues import rest
from trading.venues.alpaca import client as alpaca
from trading.venues.alpaca.market import Market as AlpacaMarket
from trading.venues.alpaca.stream import Stream
from trading.venues.base import MarketData
from trading.venues.ccxt.client import Client as CcxtClient
from trading.venues.ccxt.market import Market as CcxtMarket
from trading.venues.valr.client import Client as ValrClient
from trading.venues.valr.market import Market as ValrMarket

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process")]
START = datetime(2026, 1, 5, 15, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
AAPL, COIN, SPOT = "ALPACA:AAPL", "ALPACA:BTC/USD", "BINANCE:XRP/ETH"


@pytest.fixture
def slept() -> list[float]:
    return []


def told(market: MarketData, symbol: str, after: datetime = START, until: datetime = START + HOUR) -> Trades:
    return concatenated(list(market.trades(market.pairs([symbol])[symbol], after, until)))


def stored(market: MarketData, symbol: str, after: datetime, until: datetime) -> FetchedTrades:
    return fetch_trades(market, market.pairs([symbol])[symbol], after, until)


def seconds(*numbers: float) -> Tape:
    return taped((START + number * SECOND, "100", "1", "sell") for number in sorted(numbers))


def test_valr_is_asked_page_by_page_at_its_pace_and_again_when_it_has_had_enough(slept: list[float]) -> None:
    tape = seconds(*range(3_600))
    with StandIn({("BTC", "ZAR"): tape}, limited=False) as venue, ValrClient(venue.url, sleep=slept.append) as client:
        venue.faults.next("/trades", (429, {"code": -6, "message": "Too many requests"}))
        found = told(ValrMarket(client), "VALR:BTC-ZAR")
        assert found.trade_id.tolist() == [one.id for one in tape.trades]
        assert set(found.side) == {"SELL"}
        assert venue.asked["/v1/public/BTCZAR/trades"] == 1 + 36 + 1
    assert len([pause for pause in slept if pause > 1]) >= 38 - 30  # it takes 30 in a minute


def test_the_first_moment_is_told_and_the_last_is_not(slept: list[float]) -> None:
    tape = seconds(-0.001, 0, 0, 0.001, 3599.999, 3600, 3600)
    with StandIn({("BTC", "ZAR"): tape}) as venue, ValrClient(venue.url, sleep=slept.append) as client:
        assert told(ValrMarket(client), "VALR:BTC-ZAR").trade_id.tolist() == [one.id for one in tape.trades[1:5]]
        nothing = told(ValrMarket(client), "VALR:BTC-ZAR", START - HOUR, START - 2 * SECOND)
        assert (nothing.n_trades, nothing.ts.dtype) == (0, np.dtype("datetime64[us]"))


@pytest.fixture
def spot(slept: list[float]) -> Iterator[Callable[..., tuple[CcxtMarket, coin_venue.StandIn]]]:
    running: list[coin_venue.StandIn] = []

    def at(tape: Tape, *, page: int = 500) -> tuple[CcxtMarket, coin_venue.StandIn]:
        venue = coin_venue.StandIn({}, {("XRP", "ETH"): tape}, page=page)
        running.append(venue.__enter__())
        exchange = CcxtMarket.of("binance").client.exchange
        exchange.urls["api"]["public"] = f"{venue.url}{coin_venue.API}"
        exchange.enableRateLimit = False
        return CcxtMarket(CcxtClient(exchange, sleep=slept.append)), venue

    yield at
    for venue in running:
        venue.__exit__()


def test_a_real_market_comes_through_ccxt_whole_over_moments_that_pages_cut(spot: Any) -> None:
    tape, day = real_tape(), datetime(2019, 10, 11, tzinfo=UTC)
    market, venue = spot(tape, page=97)
    assert stored(market, SPOT, day, day + 72 * HOUR) == FetchedTrades(inserted=len(tape.trades))
    assert stored(market, SPOT, day, day + 72 * HOUR) == FetchedTrades(unchanged=len(tape.trades))
    columns = ("ts", "trade_id", "side", "price", "quantity")
    assert sorted(MarketTrade.objects.values_list(*columns)) == sorted(
        (one.at, str(one.number), one.side.upper(), Decimal(one.price), Decimal(one.quantity)) for one in tape.trades
    )
    assert venue.asked[f"{coin_venue.API}/aggTrades"] < 2 * 1.2 * len(tape.trades) / 96 + 2 * 72


def test_hours_without_a_trade_are_passed_over_and_the_first_moment_is_told_once(spot: Any) -> None:
    tape = seconds(-0.001, 0, 0, 3 * 3_600, 3 * 3_600, 4 * 3_600 - 0.001, 4 * 3_600, 9 * 3_600)
    market, _ = spot(tape)
    assert told(market, SPOT, until=START + 9 * HOUR).trade_id.tolist() == ["2", "3", "4", "5", "6", "7"]


def test_trades_without_an_id_are_as_many_as_there_are(spot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = coin_venue.trade_row
    monkeypatch.setattr(coin_venue, "trade_row", lambda one: whole(one) | {"a": None})
    market, _ = spot(seconds(0, 0, 0, 1, 1, 2, 2, 2, 3), page=4)
    assert stored(market, SPOT, START, START + HOUR) == FetchedTrades(inserted=9)
    assert stored(market, SPOT, START, START + HOUR) == FetchedTrades(unchanged=9)


def test_more_trades_of_one_moment_than_an_answer_holds_are_told_and_none_is_left_out(spot: Any) -> None:
    market, _ = spot(seconds(*[0] * 70, 1, 2), page=60)
    with pytest.raises(Transient, match="BINANCE must tell what follows 2026-01-05T15:00:00"):
        told(market, SPOT)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((200, b"[{"), "BINANCE did not answer: the answer must be JSON"),
        ((200, [{"a": 1, "p": "1", "q": "1", "m": True}]), "BINANCE did not answer: a trade must have a time"),
        ((502, b""), "BINANCE did not answer"),
    ],
)
def test_what_is_no_answer_of_ccxts_is_told(spot: Any, answer: tuple, sentence: str) -> None:
    market, venue = spot(seconds(0))
    venue.faults.next("/aggTrades", *[answer] * rest.TRIES)
    with pytest.raises(Transient, match=sentence):
        told(market, SPOT)
    market.client.exchange.has["fetchTrades"] = False
    with pytest.raises(DataError, match="BINANCE has no trades"):
        told(market, SPOT)


def test_a_trade_of_ccxts_without_a_symbol_is_told(spot: Any) -> None:
    market, _ = spot(seconds(0))
    market.client.exchange.fetch_trades = lambda *_: [{"timestamp": 1, "price": 1.0, "amount": 1.0}]
    with pytest.raises(Transient, match="BINANCE must answer with trades of XRP/ETH, was one of None"):
        told(market, SPOT)


def stock_trade(second: float, number: int, exchange: str = "V", **other: Any) -> dict[str, Any]:
    at = f"{START + second * SECOND:%Y-%m-%dT%H:%M:%S.%f}789Z"
    return {"t": at, "x": exchange, "p": 187.25, "s": 100, "c": ["@"], "i": number, "z": "C"} | other


def coin_trade(second: float, number: int, side: str = "B") -> dict[str, Any]:
    at = f"{START + second * SECOND:%Y-%m-%dT%H:%M:%S.%f}123Z"
    return {"t": at, "p": 65_000.5, "s": 0.25, "tks": side, "i": number}


TRADES = {
    "AAPL": [
        stock_trade(0, 1),
        stock_trade(0, 1, "D"),  # another's number
        stock_trade(0, 2),
        *(stock_trade(number, 1) for number in range(1, 8)),
        stock_trade(9, 7, u="canceled"),
        stock_trade(9, 8, u="incorrect"),
        stock_trade(9, 9, u="corrected"),
        stock_trade(3_600, 10),
        stock_trade(3_600, 11),
    ],
    "BTC/USD": [coin_trade(0, 1), coin_trade(0, 2, "S"), coin_trade(7_199.999, 3)],
}
KEY = alpaca.Key(key_id=stock_venue.KEY_ID, secret=stock_venue.SECRET)


@pytest.fixture
def alpacas(slept: list[float]) -> Iterator[tuple[AlpacaMarket, stock_venue.StandIn]]:
    with (
        stock_venue.StandIn({}, TRADES, page=4) as venue,
        AlpacaMarket(alpaca.Client(venue.url, key=KEY, sleep=slept.append)) as made,
    ):
        yield made, venue


def test_trades_of_a_stock_tell_no_side_and_those_that_were_taken_back_are_none(alpacas: Any) -> None:
    market, venue = alpacas
    assert stored(market, AAPL, START, START + 2 * HOUR) == FetchedTrades(inserted=13)
    assert venue.asked["/v2/stocks/trades"] == 4 + 1
    assert stored(market, AAPL, START, START + 2 * HOUR) == FetchedTrades(unchanged=13)
    assert set(MarketTrade.objects.values_list("side", "price", "quantity")) == {("", Decimal("187.25"), Decimal(100))}
    assert MarketTrade.objects.filter(trade_id="D-1-2026-01-05T15:00:00.000000789Z").count() == 1


def test_trades_of_a_coin_are_those_of_its_stream(alpacas: Any) -> None:
    assert stored(alpacas[0], COIN, START, START + 2 * HOUR) == FetchedTrades(inserted=3)
    line = Stream("http://127.0.0.1:9", "/v1beta3/crypto/us", KEY)
    message = json.dumps([{"T": "t", "S": "BTC/USD"} | row for row in TRADES["BTC/USD"]])
    heard = [(one.trade_id, one.side, moment(one.at)) for one in line.read(message.encode())]  # type: ignore[union-attr]
    assert list(MarketTrade.objects.order_by("ts", "trade_id").values_list("trade_id", "side", "ts")) == heard


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"trades": {"MSFT": [stock_trade(0, 1)]}, "next_page_token": None}, "with trades of AAPL, was one of MSFT"),
        ({"trades": {"AAPL": {}}, "next_page_token": None}, "with lists of trades by symbol"),
        (
            {"trades": {"AAPL": [stock_trade(0, 1, i=["7"])]}, "next_page_token": None},
            "must tell i of a trade",
        ),
        ({"trades": {"AAPL": [stock_trade(0, 1, t="now")]}, "next_page_token": None}, "must tell times as"),
        ({"trades": {"AAPL": [stock_trade(0, 1, tks="?")]}, "next_page_token": None}, "must tell tks as B or S"),
        ({"trades": {}, "next_page_token": "on"}, "in 100 pages at most, went on"),
        (b'{"trades": {"AAPL": [', "in JSON"),
    ],
)
def test_what_is_no_answer_of_alpacas_is_told(alpacas: Any, answer: Any, sentence: str) -> None:
    market, venue = alpacas
    venue.limit = 10_000
    venue.faults.next("/trades", *[(200, answer)] * (alpaca.PAGES["trades"] + 1))
    with pytest.raises(Transient, match=sentence):
        told(market, AAPL)


def test_what_the_venue_refuses_is_told_in_its_words(alpacas: Any) -> None:
    with pytest.raises(Rejected, match="invalid symbol: MSFT"):
        told(alpacas[0], "ALPACA:MSFT")
