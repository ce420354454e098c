"""VALR over REST: its signature, its pace, what it answers in our words, and what it answers wrongly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from helios.breakers import CircuitOpen
from helios.breakers.catalog import SHIPPED
from helios.errors import Rejected, Transient
from tests.support.places import SHARED
from tests.support.venues.tape import Tape, taped
from tests.support.venues.valr import StandIn
from trading.market.bars import FIELDS
from trading.venues import bounded, rest
from trading.venues.base import Pair
from trading.venues.rest import Pace
from trading.venues.streaming import Depth
from trading.venues.valr.client import BREAKER, Client, signature
from trading.venues.valr.market import Market

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process")]
BUCKET = {
    "currencyPairSymbol": "BTCZAR",
    "bucketPeriodInSeconds": 60,
    "startTime": "2026-01-05T10:00:00Z",
    **dict.fromkeys(FIELDS, "1"),
}
START = datetime(2026, 1, 5, 10, tzinfo=UTC)


def tape(n: int = 0) -> Tape:
    """Minute 0 with three trades, minute 2 with one, and `n` more of one minute each from minute 10 on."""
    rows = [(0.5, "100", "1"), (20, "102.5", "2"), (59.999, "99", "0.5"), (125, "101", "3")]
    rows += [(600 + 60 * k, str(100 + k % 7), "1") for k in range(n)]
    return taped((START + timedelta(seconds=s), price, quantity) for s, price, quantity in rows)


@pytest.fixture
def venue() -> Iterator[StandIn]:
    with StandIn({("BTC", "ZAR"): tape(), ("ETH", "ZAR"): tape(700)}) as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def client(venue: StandIn, slept: list[float]) -> Iterator[Client]:
    with Client(venue.url, sleep=slept.append) as made:
        yield made


@pytest.fixture
def btc(client: Client) -> Pair:
    return Market(client).pairs([])["VALR:BTC-ZAR"]


def test_requests_are_signed_as_others_sign_them() -> None:
    path = SHARED / "apis" / "hmac_sha512_vectors.json"
    if not path.exists():
        pytest.skip("needs the shared test vectors: apis/hmac_sha512_vectors.json is absent")
    for one in json.loads(path.read_text()):
        got = signature(one["secret"], one["timestamp"], one["verb"], one["path"], one["body"])
        assert got == one["signature"]


def test_a_pair_is_an_instrument_with_the_steps_of_its_venue(btc: Pair) -> None:
    assert (btc.code, btc.symbol) == ("BTCZAR", "VALR:BTC-ZAR")
    assert [f"{each:f}" for each in (btc.lot.quantity_step, btc.lot.price_tick, btc.lot.min_notional)] == [
        "0.00000001",
        "0.01",
        "10",
    ]


def test_minutes_are_named_by_their_closes_and_one_without_a_trade_is_none(client: Client, btc: Pair) -> None:
    ((found, newest),) = Market(client).bars(btc, "1m", START, START + timedelta(minutes=5))
    assert newest == START + timedelta(minutes=5)
    assert found.ts.astype("datetime64[m]").astype(str).tolist() == ["2026-01-05T10:01", "2026-01-05T10:03"]
    expected = [[100, 101], [102.5, 101], [99, 101], [99, 101], [3.5, 3]]
    assert [getattr(found, name).tolist() for name in FIELDS] == expected


def test_more_minutes_than_one_answer_holds_are_asked_for_in_parts(client: Client, venue: StandIn) -> None:
    eth = Market(client).pairs([])["VALR:ETH-ZAR"]
    tables = list(Market(client).bars(eth, "1m", START + timedelta(minutes=10), START + timedelta(minutes=710)))
    assert [table.n_rows for table, _ in tables] == [300, 300, 100]
    assert venue.asked["/v1/public/ETHZAR/buckets"] == 3


def test_the_order_book_is_asked_for(client: Client, venue: StandIn, btc: Pair) -> None:
    venue.stream.offer(START, "BTCZAR", "buy", "b", "99.5", "2")
    venue.stream.offer(START, "BTCZAR", "sell", "a", "100", "0.25")
    at = int(START.timestamp()) * 1_000_000
    found = Market(client).depth(btc)
    assert found == Depth("BTCZAR", at, 1_002, [("99.5", "99.5", "2")], [("100", "100", "0.25")], whole=True)


@pytest.mark.parametrize("answer", [[], {"Bids": []}, {"Bids": [{"currencyPair": "ETHZAR"}], "Asks": []}])
def test_what_is_no_order_book_is_told(client: Client, venue: StandIn, btc: Pair, answer: Any) -> None:
    venue.faults.next("/orderbook", (200, answer))
    with pytest.raises(Transient, match="must answer with the order book of BTCZAR, was "):
        Market(client).depth(btc)


def test_a_refusal_is_told_in_the_words_of_the_venue(client: Client, venue: StandIn) -> None:
    venue.faults.next("/pairs", (403, {"code": -93, "message": "Request has an invalid signature"}))
    with pytest.raises(Rejected, match=r"with status 403: -93 Request has an invalid signature$"):
        Market(client).pairs([])


def test_the_clock_of_the_venue_is_measured() -> None:
    with StandIn({}, skew_s=-7.5) as venue, Client(venue.url) as client:
        assert Market(client).skew_s() == pytest.approx(-7.5, abs=0.5)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((502, b"<html>"), "answered .* with status 502"),
        ((200, {"code": -11, "message": "Engine is away"}), "with an error: -11 Engine is away"),
        ((200, b"not json"), "in JSON, was b'not json'"),
        ((200, {"a": 1}), "a list of buckets"),
        ((200, [BUCKET | {"currencyPairSymbol": "ETHZAR"}]), "bars of BTCZAR of 60 s, was one of ETHZAR"),
        ((200, [BUCKET | {"bucketPeriodInSeconds": 300}]), "of 60 s, was one of BTCZAR of 300 s"),
        ((200, [BUCKET | {"startTime": "now"}]), "tell times as 2025-07-15T12:19:21.501Z, was 'now'"),
        ((200, [BUCKET | {"startTime": "2025-13-01T00:00:00Z"}]), "tell times as"),
        ((200, b"[" * 900 + b"]" * 900), "a list of buckets"),
        ((200, b" " * (bounded.LARGEST + 1)), "have 16 MiB at most"),
        ((200, {"code": 1, "message": "no\nroot: ok"}), "with an error: 1 no root: ok$"),
    ],
)
def test_what_is_no_answer_is_told(client: Client, venue: StandIn, btc: Pair, answer: tuple, told: str) -> None:
    venue.faults.next("/buckets", *[answer] * rest.TRIES)
    with pytest.raises(Transient, match=told):
        list(Market(client).bars(btc, "1m", START, START + timedelta(minutes=5)))


@pytest.mark.parametrize(
    "absurd",
    [
        {"baseDecimalPlaces": "300"},
        {"baseDecimalPlaces": "-1"},
        {"baseDecimalPlaces": "NaN"},
        {"tickSize": "0"},
        {"tickSize": "1e400"},
        {"tickSize": ["1"]},
        {"minQuoteAmount": "-1"},
        {"symbol": "BTC\rZAR"},
        {"quoteCurrency": "../ZAR"},
    ],
)
def test_a_pair_with_absurd_steps_is_no_answer(client: Client, venue: StandIn, absurd: dict[str, Any]) -> None:
    venue.faults.next("/pairs", (200, [venue.pairs[0] | absurd]))
    with pytest.raises(Transient, match=f"VALR must tell {next(iter(absurd))}"):
        Market(client).pairs([])
    venue.faults.next("/pairs", (200, [venue.pairs[0] | absurd, venue.pairs[1]]))
    assert list(Market(client).pairs([])) == ["VALR:ETH-ZAR"]


def test_an_answer_that_is_too_slow_is_told_by_its_route(
    client: Client, venue: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "ANSWER_S", -1.0)
    with pytest.raises(Transient, match="did not answer /v1/public/time: the answer must come in -1 s, went on"):
        Market(client).skew_s()


@pytest.mark.parametrize("answer", [(502, b"<html>"), (200, {"code": -11, "message": "away"}), (200, b"not json")])
def test_what_may_pass_is_asked_for_again(
    client: Client, venue: StandIn, btc: Pair, answer: tuple, slept: list[float]
) -> None:
    venue.faults.next("/buckets", *[answer] * (rest.TRIES - 1))
    assert [table.n_rows for table, _ in Market(client).bars(btc, "1m", START, START + timedelta(minutes=5))] == [2]
    assert slept == [0.5, 1.0, 2.0]


def test_who_was_sent_away_comes_back_at_the_full_minute_and_no_breaker_counts_it(
    client: Client, venue: StandIn, slept: list[float]
) -> None:
    for _ in range(SHIPPED[BREAKER].config.failure_threshold):
        venue.faults.next("/pairs", *[(429, {"code": -6, "message": "Too many requests"})] * 3)
        assert len(Market(client).pairs([])) == 2
    assert all(0 < pause <= 60 for pause in slept)


def test_a_venue_that_is_down_is_left_alone(slept: list[float]) -> None:
    threshold = SHIPPED[BREAKER].config.failure_threshold
    with StandIn({}) as venue, Client(venue.url, sleep=slept.append) as client:
        venue.faults.next("/pairs", *[(503, b"")] * (threshold + 1))
        with pytest.raises(Transient, match="status 503"):
            Market(client).pairs([])
        with pytest.raises(CircuitOpen):
            Market(client).pairs([])
        slept.clear()
        with pytest.raises(CircuitOpen):
            Market(client).pairs([])
        assert slept == []
        assert venue.asked["/v1/public/pairs"] == threshold


def test_a_pace_lets_so_many_through_and_then_one_by_one() -> None:
    pauses: list[float] = []
    pace = Pace(3, 60.0)
    for _ in range(5):
        pace.wait(pauses.append)
    assert len(pauses) == 2
    assert all(59 < pause <= 60 for pause in pauses)


def test_who_asks_at_the_clients_pace_is_never_sent_away(venue: StandIn) -> None:
    route, n = "/v1/public/time", 45  # of 20 a second
    with Client(venue.url) as patient:
        for _ in range(n):
            patient.get(route)
        assert venue.asked[route] == n
        hasty = [patient.http.get(venue.url + route).status_code for _ in range(n)]
    assert 429 in hasty


def test_a_server_that_is_not_there_is_no_traceback(slept: list[float]) -> None:
    with Client("http://127.0.0.1:9", sleep=slept.append) as client, pytest.raises(Transient, match="ConnectionError"):
        client.get("/v1/public/time")
