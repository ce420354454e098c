"""What a session takes for over, by which clock, and what it does once one was wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from helios.errors import Transient
from helios.events.models import SystemEvent
from tests.support.venues.sessions import Reading
from tiers.live.feed import session as session_module
from tiers.live.feed.depth import OrderBooks
from tiers.live.feed.session import Session
from trading.market import write
from trading.market.calendars import calendar
from trading.market.timestamps import MINUTE, moment
from trading.models import FeedCoverage, MarketGap, MarketOHLC
from trading.venues.streaming import MinuteBar
from trading.venues.valr.market import Market

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("skew_s", "followed_s", "n_told"),
    [(0.0, 0.0, 0), (9.0, 9.0, 1), (-9.0, -9.0, 1), (-10_800.0, -10_800.0, 1), (61.0, 0.0, 1), (3e9, 0.0, 1)],
)
def test_the_venues_clock_is_measured_and_followed_within_reason(
    session: Session, monkeypatch: pytest.MonkeyPatch, skew_s: float, followed_s: float, n_told: int
) -> None:
    monkeypatch.setattr(Market, "skew_s", lambda _: skew_s)
    now = session.now_us()
    session.now_us = lambda: now
    for _ in range(3):  # one that stays as it is, is told once
        session._measure()
    assert session._now() - now == followed_s * 1e6
    assert SystemEvent.objects.filter(kind="feed.clock_skew").count() == n_told


@pytest.fixture
def hasty(session: Session) -> datetime:
    """When it is, while minutes of three hours to come are taken for over, and bars for whole."""
    now = moment(session.now_us()).replace(second=0, microsecond=0)
    bar = {"symbol": "VALR:BTC-ZAR", "open": 9, "high": 9, "low": 9, "close": 9, "volume": 1, "source": "valr:buckets"}
    write.ensure_partitions("market_ohlc", "year", now, now + timedelta(hours=3))
    for timeframe, after_h in (("1m", 0), ("15m", 0.25), ("1h", 1)):
        MarketOHLC.objects.create(timeframe=timeframe, bar_ts=now + timedelta(hours=after_h), **bar)
    ends = now + timedelta(hours=3)
    MarketGap.objects.create(symbol="VALR:BTC-ZAR", timeframe="1m", after=now, until=ends, reason="it tells nothing")
    FeedCoverage.objects.create(symbol="VALR:BTC-ZAR", until=ends)
    return now


def test_what_a_clock_that_was_ahead_took_for_over_is_unknown_again(session: Session, hasty: datetime) -> None:
    session._measure()
    (known,) = session._known().values()
    assert moment(known.until) == (hasty - timedelta(hours=1)).replace(minute=0)
    assert FeedCoverage.objects.get().until == moment(known.until)
    assert list(MarketOHLC.objects.values_list("timeframe", flat=True)) == ["1m"]
    assert not MarketGap.objects.filter(until__gt=hasty).exists()
    told = SystemEvent.objects.get(kind="feed.taken_back")
    assert (told.subject, told.data["removed"]) == ("VALR:BTC-ZAR", 2)


def refused(_: Market) -> float:
    raise Transient("the venue does not answer")


@pytest.mark.parametrize("tells", [lambda _: 10_800.0, lambda _: -31_536_000.0, lambda _: None, refused])
def test_no_bar_is_removed_by_a_clock_that_the_venues_does_not_agree_with(
    session: Session, hasty: datetime, monkeypatch: pytest.MonkeyPatch, tells: Callable[[Market], float | None]
) -> None:
    """Of two clocks that differ one is wrong, be it ours or the venue's, and nobody knows which."""
    monkeypatch.setattr(Market, "skew_s", tells)
    session._measure()
    (known,) = session._known().values()
    assert moment(known.until) == (hasty - timedelta(hours=1)).replace(minute=0)
    assert MarketOHLC.objects.count() == 3
    assert SystemEvent.objects.get(kind="feed.taken_back").data["removed"] == 0


def test_what_is_still_to_come_by_a_doubtful_clock_starts_no_session_over_and_over(session: Session) -> None:
    session._minutes, session._books = session._known(), OrderBooks({"BTCZAR": "VALR:BTC-ZAR"})
    session._minutes["BTCZAR"].until = session.now_us() + 10_800_000_000
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(session._watch(), 0.1))
    session._was_set = True
    with pytest.raises(Transient, match="a clock that was ahead"):
        asyncio.run(asyncio.wait_for(session._watch(), 10))


def test_of_a_bar_that_is_the_first_nothing_is_known_again(session: Session, hasty: datetime) -> None:
    MarketOHLC.objects.filter(timeframe="1m").delete()
    (known,) = session._known().values()
    assert moment(known.until) == (hasty - timedelta(days=1)).replace(minute=0)
    assert not FeedCoverage.objects.exists()


def test_a_clock_that_is_set_takes_no_minute_for_over_and_a_session_that_did_begins_anew(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compared with the venue's first; until then nothing is asked for, and no bar is taken for whole."""
    monkeypatch.setattr(session_module, "WATCH_S", 0.001)
    true, ahead_s = session.now_us(), 10_800.0
    session._minutes, session._hours = session._known(), {"BTCZAR": calendar("24/7")}
    minutes = session._minutes["BTCZAR"]
    minutes.until = true // MINUTE * MINUTE
    session._books = OrderBooks({"BTCZAR": "VALR:BTC-ZAR"})
    monkeypatch.setattr(session_module, "_clock_offset", lambda before=session._offset: before + ahead_s)
    session.now_us = lambda: true + int(ahead_s * 1e6)
    forming = MinuteBar("BTCZAR", minutes.until + MINUTE, (9.0, 9.0, 9.0, 9.0, 1.0))
    session._heard(Reading([forming]), b"")  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(session._watch(), 0.1))
    assert (session._asked.qsize(), session._waiting.qsize()) == (0, 0)

    async def both() -> None:
        await asyncio.gather(session._watch(), session._compare_clocks())

    monkeypatch.setattr(Market, "skew_s", lambda _: -ahead_s)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(both(), 0.3))
    assert session._now() == true
    assert session._asked.qsize() == 0
    monkeypatch.setattr(Market, "skew_s", lambda _: 0.0)
    session.now_us = lambda: true
    session._measure()
    minutes.until = true + 3_600_000_000
    with pytest.raises(Transient, match="VALR:BTC-ZAR were taken for over before they were, by a clock"):
        asyncio.run(asyncio.wait_for(session._watch(), 10))
