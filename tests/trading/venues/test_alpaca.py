"""Alpaca over REST: its bars in our words, its key, its pages and its limit, and what it answers wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from helios.breakers import CircuitOpen
from helios.breakers.catalog import SHIPPED
from helios.env import Env
from helios.errors import Rejected, Transient
from tests.support.venues.alpaca import KEY_ID, SECRET, StandIn, told
from trading.market.bars import FIELDS
from trading.venues import bounded, rest
from trading.venues.alpaca import client as alpaca
from trading.venues.alpaca.client import BREAKER, Client, Key
from trading.venues.alpaca.market import Market
from trading.venues.streaming import Depth

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process")]
START = datetime(2026, 1, 5, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEY = Key(key_id=KEY_ID, secret=SECRET)
BARS = [(START + k * MINUTE, 100.0 + k, 101.0 + k, 99.0 + k, 100.5 + k, 10.0 * k) for k in range(8)]
DAY = (datetime(2026, 1, 5, 5, tzinfo=UTC), 1.0, 2.0, 0.5, 1.5, 9.0)  # midnight in New York
GOOD = told(BARS[1])


@pytest.fixture
def venue() -> Iterator[StandIn]:
    bars = {("AAPL", "1Min"): BARS, ("BTC/USD", "1Min"): BARS, ("AAPL", "1Day"): [DAY], ("BTC/USD", "1Day"): [DAY]}
    with StandIn(bars) as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def market(venue: StandIn, slept: list[float]) -> Iterator[Market]:
    with Market(Client(venue.url, key=KEY, sleep=slept.append)) as made:
        yield made


def asked(market: Market, symbol: str = "ALPACA:AAPL", minutes: int = 8, timeframe: str = "1m") -> list[tuple]:
    pair = market.pairs([symbol])[symbol]
    return list(market.bars(pair, timeframe, START, START + minutes * MINUTE))


@pytest.mark.parametrize("symbol", ["ALPACA:AAPL", "ALPACA:BTC/USD"])
def test_bars_are_named_by_their_closes_and_one_without_a_trade_is_none(market: Market, symbol: str) -> None:
    ((found, newest),) = asked(market, symbol, minutes=3)
    assert newest == START + 3 * MINUTE
    assert found.ts.astype("datetime64[m]").astype(str).tolist() == ["2026-01-05T15:02", "2026-01-05T15:03"]
    assert [getattr(found, name).tolist() for name in FIELDS] == [[row[k] for row in BARS[1:3]] for k in range(1, 6)]


def test_stocks_are_asked_for_as_they_traded_by_the_feed_that_is_set(venue: StandIn, market: Market) -> None:
    asked(market)
    (query,) = venue.queries
    assert (query["adjustment"], query["feed"], query["timeframe"]) == ("raw", "iex", "1Min")


def test_a_session_is_known_at_its_close(market: Market) -> None:
    pair = market.pairs([])["ALPACA:AAPL"]
    ((found, _),) = market.bars(pair, "1d", datetime(2026, 1, 5, 21, tzinfo=UTC) - MINUTE, START + timedelta(hours=6))
    assert found.ts.astype("datetime64[m]").astype(str).tolist() == ["2026-01-05T21:00"]
    assert found.close.tolist() == [1.5]


def test_a_day_of_coins_that_is_not_ours_is_no_answer(market: Market) -> None:
    with pytest.raises(Transient, match="days of BTC/USD by their midnights, was 2026-01-05T05:00"):
        asked(market, "ALPACA:BTC/USD", minutes=1440, timeframe="1d")


def test_more_bars_than_one_page_holds_are_asked_for_page_by_page(venue: StandIn, market: Market) -> None:
    venue.page = 3
    assert [table.n_rows for table, _ in asked(market)] == [7]
    assert venue.asked["/v2/stocks/bars"] == 3


def test_of_a_row_nothing_is_kept_but_what_is_read(market: Market, venue: StandIn) -> None:
    fat = GOOD | {"x": [{}] * 1_000, "c": "8" * 1_000, "n": 7, "who": "knows"}
    venue.faults.next("/bars", (200, {"bars": {"AAPL": [fat]}}))
    kept = alpaca.stocks(market.client).get("/stocks/bars", {})["bars"]["AAPL"]
    assert kept == [{name: GOOD[name] for name in "tohlv"}]


@pytest.mark.parametrize("symbol", ["ALPACA:AAPL", "ALPACA:BTC/USD"])
def test_the_best_of_the_order_book_is_asked_for(venue: StandIn, market: Market, symbol: str) -> None:
    pair = market.pairs([symbol])[symbol]
    venue.stream.quote(pair.code, START, (99.5, 2), (100, 0.25))
    at = int(START.timestamp()) * 1_000_000
    bids, asks = [("99.5", "99.5", "2")], [("100", "100", "0.25")]
    assert market.depth(pair) == Depth(pair.code, at, at, bids, asks, whole=True)


@pytest.mark.parametrize("answer", [{}, {"quotes": {}}, {"quotes": {"AAPL": {"t": "soon"}}}])
def test_what_is_no_quote_is_told(venue: StandIn, market: Market, answer: Any) -> None:
    venue.faults.next("/quotes/latest", (200, answer))
    with pytest.raises(Transient, match=r"^Alpaca must tell "):
        market.depth(market.pairs(["ALPACA:AAPL"])["ALPACA:AAPL"])


def test_pages_without_end_are_given_up(venue: StandIn, market: Market) -> None:
    venue.faults.next("/bars", *[(200, {"bars": {}, "next_page_token": "on"})] * (alpaca.PAGES["bars"] + 1))
    with pytest.raises(Transient, match="in 20 pages at most, went on"):
        asked(market)


def test_a_wrong_key_is_refused_in_the_words_of_the_venue(venue: StandIn) -> None:
    wrong = Key(key_id=KEY_ID, secret="not-the-secret")
    with Market(Client(venue.url, key=wrong)) as market, pytest.raises(Rejected) as caught:
        asked(market)
    assert str(caught.value) == "Alpaca refused /v2/stocks/bars with status 403: forbidden."


def test_without_a_key_nothing_is_asked() -> None:
    with pytest.raises(Rejected, match=r"^Alpaca needs HELIOS_ALPACA_KEY_ID and HELIOS_ALPACA_SECRET$"):
        Market.of(Env(_env_file=None, alpaca_key_id="half"))


def test_a_stock_that_there_is_not_is_refused_in_the_words_of_the_venue(market: Market) -> None:
    with pytest.raises(Rejected, match="with status 400: invalid symbol: ZZZZ"):
        asked(market, "ALPACA:ZZZZ")


@pytest.mark.parametrize("name", ["ALPACA:aapl", "VALR:BTC-ZAR", "ALPACA:BTC/USD/X", "ALPACA:TOOLONGNAME"])
def test_what_is_written_as_nothing_of_the_venue_is_none_of_its_pairs(market: Market, name: str) -> None:
    assert name not in market.pairs([name])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((502, b"<html>"), "answered .* with status 502"),
        ((200, {"message": "engine\nis away"}), "with an error: engine is away$"),
        ((200, b"not json"), "in JSON, was b'not json'"),
        ((200, [1]), "with an object, was "),
        ((200, {"bars": [1]}), "with lists of bars by symbol"),
        ((200, {"bars": {"AAPL": [{}] * 10_001}}), "with 10000 bars a page at most, told more"),
        ((200, {"bars": {"AAPL": 1}}), "with lists of bars by symbol"),
        ((200, {"bars": {"AAPL": [1]}}), "a list of bars"),
        ((200, {"bars": {"TSLA": [GOOD]}}), "bars of AAPL, was one of TSLA"),
        ((200, {"bars": {"AAPL": [GOOD | {"t": "today"}]}}), "tell times as"),
        ((200, {"bars": {"AAPL": [GOOD | {"t": "2026-01-05T15:00:30Z"}]}}), "minutes of AAPL by their beginnings"),
        ((200, b"[" * 900 + b"]" * 900), "with an object"),
        ((200, b" " * (bounded.LARGEST + 1)), "have 16 MiB at most"),
    ],
)
def test_what_is_no_answer_is_told(market: Market, venue: StandIn, answer: tuple, sentence: str) -> None:
    venue.faults.next("/bars", *[answer] * rest.TRIES)
    with pytest.raises(Transient, match=sentence):
        asked(market)


def test_who_was_sent_away_comes_back_when_the_venue_says_so_and_no_breaker_counts_it(
    market: Market, venue: StandIn, slept: list[float]
) -> None:
    for _ in range(SHIPPED[BREAKER].config.failure_threshold):
        venue.faults.next("/bars", *[(429, {"message": "too many requests."})] * 3)
        assert asked(market)[0][0].n_rows == 7
    assert all(1 <= pause <= 60 for pause in slept)


def test_the_limit_of_the_venue_is_met_by_waiting(venue: StandIn, market: Market, slept: list[float]) -> None:
    venue.limit = 2
    slept_then = []
    market.client.sleep = lambda pause: (slept_then.append(pause), venue.counted.clear())
    for _ in range(3):
        assert asked(market)[0][0].n_rows == 7
    assert len(slept_then) == 1


def test_a_venue_that_is_down_is_left_alone(venue: StandIn, market: Market) -> None:
    threshold = SHIPPED[BREAKER].config.failure_threshold
    venue.faults.next("/bars", *[(503, b"")] * (threshold + 1))
    with pytest.raises(Transient, match="status 503"):
        asked(market)
    with pytest.raises(CircuitOpen):
        asked(market)
    assert venue.asked["/v2/stocks/bars"] == threshold
