"""Books and cycles over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from helios.web.roles import Role
from tests.support.people import api_of
from trading.models import Book, Instrument, PipelineCycle, PortfolioSnapshot, Position, StageRun, TradingModeChange

pytestmark = pytest.mark.django_db

START = datetime(2019, 11, 20, 15, 0, tzinfo=UTC)


@pytest.fixture
def api() -> Client:
    return api_of(Role.VIEWER).http


def make_book(name: str) -> Book:
    book = Book.objects.create(
        name=name, mode="replay", timeframe="1m", symbols=["AAPL", "MSFT"], fee_bps=5, slippage_bps=2,
        initial_cash=Decimal(100_000), cash=Decimal("40000.12345678"), peak_equity=Decimal(101_000),
    )  # fmt: skip
    Position.objects.create(book=book, symbol="AAPL", quantity=Decimal("12.5"), cost=Decimal("2501.25"))
    Position.objects.create(book=book, symbol="MSFT")
    return book


def make_cycle(book: Book, minute: int, status: str = "DONE") -> PipelineCycle:
    started = START + timedelta(days=1)
    return PipelineCycle.objects.create(
        book=book,
        timeframe="1m",
        bar_ts=START + timedelta(minutes=minute),
        mode=book.mode,
        status=status,
        stage="done" if status == "DONE" else "risk",
        started_at=started,
        finished_at=None if status == "RUNNING" else started + timedelta(milliseconds=37.5),
    )


@pytest.fixture
def book() -> Book:
    return make_book("demo")


def test_both_lists_are_for_users_only(client: Client) -> None:
    for path in ("/api/books/", "/api/cycles/", "/api/books/demo/", "/api/cycles/1/"):
        assert client.get(path).status_code == 401


def test_money_comes_as_text_with_every_digit(api: Client, book: Book) -> None:
    (shown,) = api.get("/api/books/").json()["results"]
    assert shown["cash"] == "40000.12345678"
    position = shown["positions"][0]
    assert (position["quantity"], position["cost"], position["average_price"]) == ("12.5", "2501.25", "200.1")


def test_a_price_of_any_size_is_shown_exactly_and_without_an_exponent(api: Client, book: Book) -> None:
    held = Position.objects.filter(symbol="AAPL")
    held.update(quantity=Decimal("2.5e13"), cost=Decimal(100_000), last_price=Decimal("4.186662803811e-9"))
    (position,) = api.get("/api/books/demo/").json()["positions"]
    assert {name: position[name] for name in ("quantity", "average_price", "last_price")} == {
        "quantity": "25000000000000",
        "average_price": "0.000000004",
        "last_price": "0.000000004186662803811",
    }


def test_an_average_price_that_never_ends_has_twelve_digits(api: Client, book: Book) -> None:
    Position.objects.filter(symbol="AAPL").update(quantity=Decimal(3), cost=Decimal(100))
    (position,) = api.get("/api/books/demo/").json()["positions"]
    assert position["average_price"] == "33.3333333333"


def test_a_book_shows_the_positions_that_are_open(api: Client, book: Book) -> None:
    assert [position["symbol"] for position in api.get("/api/books/demo/").json()["positions"]] == ["AAPL"]


def test_a_book_names_the_currency_of_its_amounts(api: Client, book: Book) -> None:
    assert api.get("/api/books/demo/").json()["currency"] is None  # nobody described its symbols
    for symbol in ("AAPL", "MSFT"):
        Instrument.objects.create(symbol=symbol, asset_class="equity", quantity_step=1, price_tick=Decimal("0.01"))
    assert api.get("/api/books/demo/").json()["currency"] == "USD"
    Book.objects.update(symbols=["ETH-BTC"])
    (row,) = api.get("/api/books/").json()["results"]
    assert row["currency"] == "BTC"


def test_a_book_shows_its_last_equity_or_null_before_the_first(api: Client, book: Book) -> None:
    assert api.get("/api/books/demo/").json()["equity"] is None
    for minute, equity in enumerate(("100100.5", "100200.25")):
        cycle = make_cycle(book, minute)
        PortfolioSnapshot.objects.create(
            book=book, cycle=cycle, bar_ts=cycle.bar_ts, equity=Decimal(equity), cash=book.cash,
            peak_equity=Decimal(101_000), gross_exposure=0.6, drawdown=0.01,
        )  # fmt: skip
    shown = api.get("/api/books/demo/").json()
    assert (shown["equity"], shown["equity_ts"]) == ("100200.25", "2019-11-20T15:01:00Z")


def test_books_are_ordered_by_name(api: Client, book: Book) -> None:
    make_book("another")
    assert [shown["name"] for shown in api.get("/api/books/").json()["results"]] == ["another", "demo"]


def test_cycles_come_newest_first_in_pages(api: Client, book: Book) -> None:
    cycles = [make_cycle(book, minute) for minute in range(5)]
    page = api.get("/api/cycles/", {"page_size": 2}).json()
    assert page["count"] == 5
    assert [shown["id"] for shown in page["results"]] == [cycles[4].pk, cycles[3].pk]
    assert [shown["id"] for shown in api.get(page["next"]).json()["results"]] == [cycles[2].pk, cycles[1].pk]


def test_a_cycle_tells_what_each_tier_did(api: Client, book: Book) -> None:
    cycle = make_cycle(book, 0)
    StageRun.objects.create(cycle=cycle, stage="ingest", worker="w1", queue_ms=1.5, duration_ms=3.25)
    StageRun.objects.create(cycle=cycle, stage="features", worker="w2", queue_ms=1, duration_ms=9, fallback="none")
    shown = api.get(f"/api/cycles/{cycle.pk}/").json()
    assert [stage["stage"] for stage in shown["stages"]] == ["ingest", "features"]
    assert shown["stages"][0]["duration_ms"] == 3.25
    assert (shown["book"], shown["duration_ms"]) == ("demo", 37.5)


def test_a_running_cycle_has_no_duration(api: Client, book: Book) -> None:
    cycle = make_cycle(book, 0, "RUNNING")
    assert api.get(f"/api/cycles/{cycle.pk}/").json()["duration_ms"] is None


def test_cycles_can_be_narrowed(api: Client, book: Book) -> None:
    for minute in range(4):
        make_cycle(book, minute, "DONE" if minute % 2 else "FAILED")
    make_cycle(make_book("other"), 0)

    def bars(**wanted: str) -> list[str]:
        return [shown["bar_ts"][11:16] for shown in api.get("/api/cycles/", wanted).json()["results"]]

    assert bars(book="demo", status="DONE") == ["15:03", "15:01"]
    assert bars(book="demo", since="2019-11-20T15:02:00Z") == ["15:03", "15:02"]
    assert bars(book="demo", until="2019-11-20T15:02:00Z") == ["15:01", "15:00"]
    assert bars(timeframe="1d") == []


def test_a_filter_that_makes_no_sense_is_a_problem_naming_the_field(api: Client) -> None:
    response = api.get("/api/cycles/", {"status": "LOST", "since": "yesterday"})
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert {error["parameter"] for error in response.json()["errors"]} == {"status", "since"}


def test_a_parameter_that_is_not_known_is_named_with_the_nearest_one(api: Client) -> None:
    (error,) = api.get("/api/cycles/", {"statsu": "DONE"}).json()["errors"]
    assert (error["parameter"], error["detail"]) == ("statsu", "is not a known field; did you mean status?")


def test_cycles_can_be_ordered_by_bar(api: Client, book: Book) -> None:
    for minute in (2, 0, 1):
        make_cycle(book, minute)
    shown = api.get("/api/cycles/", {"ordering": "bar_ts"}).json()["results"]
    assert [cycle["bar_ts"][14:16] for cycle in shown] == ["00", "01", "02"]


def test_books_can_be_narrowed(api: Client, book: Book) -> None:
    assert api.get("/api/books/", {"mode": "replay", "active": "false"}).json()["count"] == 1
    assert api.get("/api/books/", {"mode": "live"}).json()["count"] == 0


@pytest.mark.parametrize("number", ["9223372036854775808", "9" * 40])
def test_a_number_beyond_the_column_is_just_not_there(api: Client, number: str) -> None:
    assert api.get(f"/api/cycles/{number}/").status_code == 404


def test_the_number_of_queries_does_not_grow_with_the_rows(
    api: Client, book: Book, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for minute in range(20):
        cycle = make_cycle(book, minute)
        StageRun.objects.create(cycle=cycle, stage="ingest", worker="w", queue_ms=1, duration_ms=1)
    with django_assert_max_num_queries(5):  # token, role, and three for the rows
        api.get("/api/cycles/")
    with django_assert_max_num_queries(5):  # token, role, and three for the rows
        api.get("/api/books/")


def test_one_word_says_whether_a_book_trades(api: Client, book: Book) -> None:
    words = []
    for changes in ({}, {"active": True}, {"state": "HALTED"}):
        Book.objects.update(**changes)
        words.append(api.get("/api/books/demo/").json()["trading_state"])
    assert words == ["STOPPED", "ACTIVE", "HALTED"]


@pytest.mark.parametrize("path", ["/api/books/nobody/", "/api/cycles/999999/"])
def test_what_is_not_there_is_a_problem(api: Client, path: str) -> None:
    response = api.get(path)
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("act", "operator_may", "field", "after"),
    [
        ("halt", True, "state", "HALTED"),
        ("reduce", True, "state", "REDUCING"),
        ("stop", True, "active", False),
        ("start", False, "active", True),
        ("resume", False, "state", "ACTIVE"),
    ],
)
def test_what_is_safer_is_an_operators_and_the_rest_a_traders(
    book: Book, act: str, operator_may: bool, field: str, after: object
) -> None:
    start = {"state": "HALTED" if act == "resume" else "ACTIVE", "active": act == "stop"}
    Book.objects.update(held_by_person=act == "resume", **start)
    Position.objects.update(last_price=201)
    body = {"reason": "maintenance at the venue"}
    assert api_of(Role.VIEWER).post(f"/api/books/demo/{act}", body).status_code == 403
    operator = api_of(Role.OPERATOR)
    assert operator.post(f"/api/books/demo/{act}", body).status_code == (200 if operator_may else 403)
    caller = operator if operator_may else api_of(Role.TRADER)
    answer = caller.post(f"/api/books/demo/{act}", body)
    assert (answer.status_code, answer.json()[field]) == (200, after)
    change = TradingModeChange.objects.get()  # asked for twice, done once
    assert (change.actor, change.reason) == (caller.user.get_username(), body["reason"])


@pytest.mark.parametrize(("act", "back"), [("halt", "resume"), ("reduce", "resume"), ("stop", "start")])
def test_a_book_is_held_again_when_the_same_request_comes_after_it_was_let_go(book: Book, act: str, back: str) -> None:
    Book.objects.update(active=True)
    Position.objects.update(last_price=201)
    operator, trader = api_of(Role.OPERATOR), api_of(Role.TRADER)
    held = operator.post(f"/api/books/demo/{act}", Idempotency_Key="k-1").json()
    trader.post(f"/api/books/demo/{back}", {"reason": "it is over"})
    assert (Book.objects.get().state, Book.objects.get().active) == ("ACTIVE", True)
    again = operator.post(f"/api/books/demo/{act}", Idempotency_Key="k-1").json()
    now = Book.objects.get()
    assert (again["state"], again["active"]) == (now.state, now.active) == (held["state"], held["active"])


def test_a_book_that_was_halted_trades_again_for_a_reason_only(book: Book) -> None:
    trader = api_of(Role.TRADER)
    trader.post("/api/books/demo/halt")
    answer = trader.post("/api/books/demo/resume")
    assert (answer.status_code, "for a reason only" in answer.json()["detail"]) == (422, True)
    assert Book.objects.get().state == "HALTED"


def test_a_book_that_is_not_there_is_404_with_the_nearest(book: Book) -> None:
    answer = api_of(Role.OPERATOR).post("/api/books/dem/halt")
    assert (answer.status_code, answer.json()["detail"]) == (404, "no book is named 'dem'; did you mean demo?")
