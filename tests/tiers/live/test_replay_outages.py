"""A replay outlasts a database that goes away and comes back, and starts no cycle twice over it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import psycopg2
import pytest

from helios import outage
from helios.errors import Rejected, Transient
from tiers.live import chain, replay
from trading.books import write as books
from trading.market import instruments
from trading.models import Book, PipelineCycle

pytestmark = pytest.mark.django_db
BAR = datetime(2021, 1, 4, 21, tzinfo=UTC)
GONE = psycopg2.OperationalError("server closed the connection unexpectedly")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether PostgreSQL answers, as far as outages are concerned: the last entry counts."""
    up = [True]

    def ask() -> None:
        if not up[-1]:
            raise GONE

    monkeypatch.setattr(outage.POSTGRES, "_ask", ask)
    monkeypatch.setattr(outage, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(replay, "CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(replay.connection, "close", lambda: None)  # the test's own transaction lives in it
    return up


@pytest.fixture
def book() -> Book:
    instruments.ensure_instrument("IBM", "equity")
    money = {"initial_cash": Decimal(1_000), "fee_bps": Decimal(0), "slippage_bps": Decimal(0)}
    return books.create_book("desk", mode=Book.Mode.REPLAY, timeframe="1d", symbols=["IBM"], **money)


def test_work_that_the_outage_cut_off_is_done_again_when_it_is_over(server: list[bool]) -> None:
    server.append(False)
    tended: list[int] = []

    def work() -> str:
        if not server[-1]:
            raise GONE
        return "done"

    def idle() -> None:  # a replay's workers are looked after meanwhile
        tended.append(1)
        if len(tended) == 3:
            server.append(True)

    assert replay._through_outages(work, 60.0, idle) == "done"
    assert len(tended) >= 3


def test_a_server_that_goes_away_again_before_the_work_is_done_is_waited_for_again(server: list[bool]) -> None:
    server.append(False)
    tries: list[bool] = []

    def work() -> str:
        tries.append(server[-1])
        if len(tries) < 3:
            server.append(False)
            raise GONE
        return "done"

    assert replay._through_outages(work, 60.0, lambda: server.append(True)) == "done"
    assert tries == [False, True, True]


def test_an_outage_longer_than_the_limit_ends_the_replay(server: list[bool]) -> None:
    server.append(False)

    def work() -> None:
        raise GONE

    with pytest.raises(psycopg2.OperationalError):
        replay._through_outages(work, 0.0, lambda: None)


def test_what_is_no_outage_is_not_tried_again(server: list[bool]) -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        raise Transient("the cycle must end within 1 s")

    with pytest.raises(Transient):
        replay._through_outages(work, 60.0, lambda: None)
    assert len(tries) == 1


def test_a_start_that_came_through_before_the_connection_broke_is_not_repeated(
    server: list[bool], book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(book: Book, bar_ts: datetime) -> PipelineCycle:
        PipelineCycle.objects.create(book=book, timeframe="1d", bar_ts=bar_ts, mode=book.mode)
        raise GONE  # in the moment of the answer

    monkeypatch.setattr(chain, "start", start)
    cycle = replay._through_outages(replay._Start(book, BAR), 60.0, lambda: None)
    assert cycle == PipelineCycle.objects.get()


def test_a_cycle_of_somebody_else_is_still_refused(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    PipelineCycle.objects.create(book=book, timeframe="1d", bar_ts=BAR, mode=book.mode)
    with pytest.raises(Rejected, match="has a cycle for"):
        replay._Start(book, BAR)()
