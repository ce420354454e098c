"""Exchanges through ccxt, its library and a real socket: their bars in our words, and what they answer wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import pytest

from helios.breakers import CircuitOpen
from helios.breakers.catalog import SHIPPED
from helios.errors import DataError, Rejected, Transient
from tests.support.venues.binance import API, StandIn, told
from trading.market.bars import FIELDS
from trading.market.timestamps import microseconds
from trading.venues import bounded, rest
from trading.venues.ccxt.client import BREAKER, Client
from trading.venues.ccxt.market import Market

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process")]
START = datetime(2026, 1, 5, 15, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BARS = [(START + k * MINUTE, 100.0 + k, 101.0 + k, 99.0 + k, 100.5 + k, 10.0 * k) for k in range(2_500)]
LATER = [(START + timedelta(days=3) + k * MINUTE, *BARS[1][1:]) for k in range(5)]
GOOD = told(BARS[1])


@pytest.fixture
def venue() -> Iterator[StandIn]:
    with StandIn({("BTC", "USDT", "1m"): [*BARS, *LATER], ("ETH", "BTC", "1m"): []}, skew_s=4.0) as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def market(venue: StandIn, slept: list[float]) -> Iterator[Market]:
    exchange = Market.of("binance").client.exchange
    exchange.urls["api"]["public"] = f"{venue.url}{API}"
    exchange.enableRateLimit = False
    with Market(Client(exchange, sleep=slept.append)) as made:
        made.pairs([])
        yield made


def asked(market: Market, minutes: int = 5, after: datetime = START) -> list[tuple]:
    pair = market.pairs([])["BINANCE:BTC/USDT"]
    return list(market.bars(pair, "1m", after, after + minutes * MINUTE))


def test_a_pair_is_an_instrument_with_the_steps_of_its_exchange(market: Market) -> None:
    found = market.pairs([])
    assert set(found) == {"BINANCE:BTC/USDT", "BINANCE:ETH/BTC"}
    lot = found["BINANCE:BTC/USDT"].lot
    assert [f"{each:f}" for each in (lot.quantity_step, lot.price_tick, lot.min_notional)] == ["0.00001", "0.01", "5.0"]


def test_bars_are_named_by_their_closes_and_one_without_a_trade_is_none(market: Market) -> None:
    ((found, newest),) = asked(market, minutes=3)
    assert newest == START + 3 * MINUTE
    assert found.ts.astype("datetime64[m]").astype(str).tolist() == ["2026-01-05T15:02", "2026-01-05T15:03"]
    assert [getattr(found, name).tolist() for name in FIELDS] == [[row[k] for row in BARS[1:3]] for k in range(1, 6)]


def test_the_bar_that_forms_is_left_out(market: Market) -> None:
    assert [table.n_rows for table, _ in asked(market, minutes=2_499)][-1] == 499


def test_more_bars_than_one_answer_holds_are_asked_for_in_parts(venue: StandIn, market: Market) -> None:
    assert [table.n_rows for table, _ in asked(market, minutes=2_500)] == [999, 1_000, 500]
    assert venue.asked[f"{API}/klines"] == 3


def test_a_time_without_bars_is_passed_over(market: Market) -> None:
    times = [ts for table, _ in asked(market, minutes=4 * 1_440) for ts in table.ts.astype("datetime64[m]").astype(str)]
    assert len(times) == 2_499 + 5
    assert times[-1] == "2026-01-08T15:05"


def test_an_exchange_that_tells_only_of_the_time_that_is_asked_is_asked_on(venue: StandIn, market: Market) -> None:
    venue.faults.next("/klines", (200, []), (200, []))
    assert sum(table.n_rows for table, _ in asked(market, minutes=2_500)) == 500


def test_the_clock_of_the_exchange_is_measured(market: Market) -> None:
    assert market.skew_s() == pytest.approx(4.0, abs=0.5)


def test_the_order_book_is_asked_for(venue: StandIn, market: Market) -> None:
    venue.depths["BTCUSDT"] = {"bids": [("99.50", "2"), ("1e-7", "3")], "asks": [("100", "0.25")]}
    before = microseconds(datetime.now(UTC))
    found = market.depth(market.pairs([])["BINANCE:BTC/USDT"])
    assert (found.bids, found.asks) == (
        [("99.5", "99.5", "2.0"), ("0.0000001", "0.0000001", "3.0")],
        [("100.0", "100.0", "0.25")],
    )
    assert (found.code, found.whole) == ("BTC/USDT", True)
    assert before <= found.at == found.sequence <= microseconds(datetime.now(UTC))


@pytest.mark.parametrize("answer", [{"bids": [["x", "1"]], "asks": []}, {"bids": [["1"]], "asks": []}])
def test_what_is_no_order_book_is_told_in_one_line(venue: StandIn, market: Market, answer: Any) -> None:
    venue.faults.next("/depth", *[(200, answer)] * rest.TRIES)
    with pytest.raises(Transient, match=r"^BINANCE [^\n]*$"):
        market.depth(market.pairs([])["BINANCE:BTC/USDT"])


def test_calls_go_at_the_pace_of_the_exchange() -> None:
    with Market.of("binance") as market:
        assert market.client.exchange.enableRateLimit


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        ((502, b"<html>"), Transient, "^BINANCE did not answer: ExchangeNotAvailable: binance GET .* 502"),
        ((200, b"not json"), Transient, "^BINANCE did not answer: the answer must be JSON, was b'not json'"),
        ((200, {"code": -1000, "msg": "away"}), Transient, "BINANCE did not answer: OperationFailed: binance .*away"),
        ((400, {"code": -1121, "msg": "Invalid symbol."}), Rejected, "^BINANCE refused: BadSymbol: binance .*Invalid"),
        ((200, {"a": 1}), Transient, "^BINANCE did not answer: a bar must have a time, was '1'"),
        ((200, [1]), Transient, "a bar must have a time, was '1'"),
        ((200, [[]]), Transient, "a bar must have a time, was"),
        ((200, [["x", *GOOD[1:]]]), Transient, "a bar must have a time, was"),
        (
            (200, [[GOOD[0] + 1, *GOOD[1:]]]),
            Transient,
            "must tell bars by their beginnings, was 2026-01-05T15:01:00.0",
        ),
        ((200, [[10**18, *GOOD[1:]]]), Transient, "must tell times in milliseconds"),
        ((200, [[253402300740000, *GOOD[1:]]]), Transient, "must tell times in milliseconds"),  # the year 9999
        ((200, b"[" * 900 + b"]" * 900), Transient, "^BINANCE "),
        ((200, b" " * (bounded.LARGEST + 1)), Transient, "the answer must have 16 MiB at most"),
    ],
)
def test_what_is_no_answer_is_told_in_one_line(
    market: Market, venue: StandIn, answer: tuple, kind: type[Exception], sentence: str
) -> None:
    venue.faults.next("/klines", *[answer] * rest.TRIES)
    with pytest.raises(kind, match=sentence) as caught:
        asked(market)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_answer_that_comes_letter_by_letter_is_given_up(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "ANSWER_S", -1.0)
    with pytest.raises(Transient, match="BINANCE did not answer: the answer must come in -1 s, went on"):
        asked(market)


def test_who_was_sent_away_comes_back_and_no_breaker_counts_it(
    market: Market, venue: StandIn, slept: list[float]
) -> None:
    for _ in range(SHIPPED[BREAKER].config.failure_threshold):
        bodies = ({"code": -1003, "msg": "Too many requests."}, b"", {"code": -9, "msg": "slow down"})
        venue.faults.next("/klines", *((429, body) for body in bodies))
        assert asked(market)[0][0].n_rows == 4
    assert set(slept) == {30.0}


def test_an_exchange_that_is_down_is_left_alone(venue: StandIn, market: Market) -> None:
    threshold = SHIPPED[BREAKER].config.failure_threshold
    venue.faults.next("/klines", *[(503, b"")] * (threshold + 1))
    with pytest.raises(Transient, match="ExchangeNotAvailable"):
        asked(market)
    with pytest.raises(CircuitOpen):
        asked(market)
    assert venue.asked[f"{API}/klines"] == threshold


def test_a_server_that_is_not_there_is_no_traceback(market: Market) -> None:
    market.client.exchange.urls["api"]["public"] = "http://127.0.0.1:9"
    with pytest.raises(Transient, match=r"^BINANCE did not answer: NetworkError: binance GET "):
        asked(market)


@pytest.mark.parametrize(
    ("exchange", "sentence"),
    [
        ("binanse", "^--exchange must be valr, alpaca or one of ccxt's, was 'binanse'; near it are binance"),
        ("Exchange", "was 'Exchange'"),
        ("mercado", "^mercado tells no bars of a minute, as ccxt knows it$"),
    ],
)
def test_an_exchange_that_is_none_is_refused_in_one_sentence(exchange: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        Market.of(exchange)


def test_every_exchange_of_ccxt_is_taken_or_refused_with_a_sentence() -> None:
    taken = 0
    for exchange in ccxt.exchanges:
        try:
            with Market.of(exchange) as market:
                taken += 1
                assert market.symbol("BTC-USDT") == f"{exchange.upper()}:BTC/USDT"
        except DataError:
            continue
    assert taken > 80
