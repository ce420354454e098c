"""The threads of a stream: one that fails ends the session, and none outlives it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from helios.errors import Transient
from helios.events.models import SystemEvent
from tests.support.venues.tape import Tape
from tests.support.venues.valr import StandIn
from tiers.live import relay
from tiers.live.alone import Alone
from tiers.live.feed import recorder
from tiers.live.feed.depth import Noted, OrderBooks
from tiers.live.feed.session import Session
from trading.models import FeedCoverage, MarketGap
from trading.venues.valr.client import Client
from trading.venues.valr.market import Market
from trading.venues.valr.stream import Stream

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session() -> Iterator[Session]:
    with StandIn({("BTC", "ZAR"): Tape()}) as venue, Client(venue.url) as client:
        market = Market(client)
        yield Session(market, Stream(venue.url), list(market.pairs([]).values()), relay.bus())


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def write(*_: object) -> None:
        raise error

    monkeypatch.setattr(recorder, "write", write)


def told(session: Session) -> None:
    session._told.put(Noted(symbol="VALR:BTC-ZAR", ts=0, sequence=1, bids=[], asks=[]))


@pytest.mark.parametrize(
    ("skew_s", "followed_s", "n_told"), [(0.0, 0.0, 0), (9.0, 9.0, 1), (-9.0, -9.0, 1), (3e9, 0.0, 1)]
)
def test_the_venues_clock_is_measured_and_followed_within_reason(
    session: Session, monkeypatch: pytest.MonkeyPatch, skew_s: float, followed_s: float, n_told: int
) -> None:
    monkeypatch.setattr(Market, "skew_s", lambda _: skew_s)
    now = session.now_us()
    session.now_us = lambda: now
    session._measure()
    assert session._now() - now == followed_s * 1e6
    assert SystemEvent.objects.filter(kind="feed.clock_skew").count() == n_told


def test_an_instrument_is_streamed_by_one_process_until_that_ends() -> None:
    first, second = Alone("feed"), Alone("feed")
    try:
        assert first.hold(["A", "B"]) == ["A", "B"]
        assert second.hold(["B", "C"]) == ["C"]
        assert first.hold(["A"]) == ["A"]  # B is wanted no more
        assert second.hold(["B", "C"]) == ["B", "C"]
        second.close()  # the server hears of that in its own time
        while first.hold(["A", "C"]) != ["A", "C"]:
            time.sleep(0.01)
    finally:
        first.close()
        second.close()


def test_a_thread_that_fails_ends_the_session(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ValueError("a defect"))
    told(session)
    with pytest.raises(ValueError, match="a defect"):
        asyncio.run(asyncio.wait_for(session.run(), 30))


def test_what_cannot_be_stored_keeps_no_session_from_its_end(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Transient("the database is away"))
    told(session)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(session.run(), 2))


def test_order_books_are_asked_for_once_more_only_while_a_line_is_open(session: Session) -> None:
    """A venue that is away for long is not asked for all of them, all at once, when it comes back."""

    async def run() -> int:
        session._books = OrderBooks({"BTCZAR": "VALR:BTC-ZAR"})
        watching = asyncio.create_task(session._watch())
        await asyncio.sleep(0.05)
        session._again.put_nowait(["BTCZAR"])
        session._subscribed()
        watching.cancel()
        return session._again.qsize()

    assert asyncio.run(run()) == 0


def test_a_time_in_which_nobody_streamed_for_more_than_a_day_is_a_gap(session: Session) -> None:
    until = datetime(2026, 1, 5, 10, 20, tzinfo=UTC)
    FeedCoverage.objects.create(symbol="VALR:BTC-ZAR", until=until)
    (known,) = session._known().values()
    gap = MarketGap.objects.get()
    assert (gap.after, gap.until, gap.reason) == (
        until,
        recorder.moment(known.until),
        "nobody streamed then; repair_data asks for it",
    )
