"""What a session takes for over, by which clock, and what it does once one was wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.backends.signals import connection_created

from helios.errors import Transient
from helios.events.models import SystemEvent
from helios.stack import children
from tests.support.venues.sessions import Reading
from tiers.live.feed import clock
from tiers.live.feed import session as session_module
from tiers.live.feed.session import Session
from trading.market import write
from trading.market.calendars import calendar
from trading.market.timestamps import MINUTE, moment
from trading.models import FeedCoverage, MarketGap, MarketOHLC
from trading.venues.streaming import MinuteBar, Trade
from trading.venues.valr.market import Market

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("skew_s", "followed_s", "n_told"),
    [
        *[(0.0, 0.0, 0), (9.0, 9.0, 1), (-9.0, -9.0, 1), (-10_800.0, -10_800.0, 1)],
        *[(61.0, 0.0, 1), (3e9, 0.0, 1), (None, 0.0, 0)],
    ],
)
def test_the_venues_clock_is_measured_and_followed_within_reason(
    session: Session, monkeypatch: pytest.MonkeyPatch, skew_s: float | None, followed_s: float, n_told: int
) -> None:
    monkeypatch.setattr(Market, "skew_s", lambda _: skew_s)
    now = session.clock.now_us()
    session.clock.now_us = lambda: now
    for _ in range(3):  # one that stays as it is, is told once
        session.clock.compare()
    assert session.clock.now() - now == followed_s * 1e6
    assert SystemEvent.objects.filter(kind="feed.clock_skew").count() == n_told


@pytest.fixture
def hasty(session: Session) -> datetime:
    """When it is, while minutes of three hours to come are taken for over, and bars for whole."""
    now = moment(session.clock.now_us()).replace(second=0, microsecond=0)
    bar = {"symbol": "VALR:BTC-ZAR", "open": 9, "high": 9, "low": 9, "close": 9, "volume": 1, "source": "valr:buckets"}
    ends = now + timedelta(hours=3)
    write.ensure_partitions("market_ohlc", "year", now, ends + timedelta(hours=1))
    for timeframe, after_h in (("1m", 0), ("15m", 0.25), ("1h", 1), ("1h", 4), ("1d", 2)):
        MarketOHLC.objects.create(timeframe=timeframe, bar_ts=now + timedelta(hours=after_h), **bar)
    for after in (now - timedelta(days=2), now):
        gap = {"after": after, "until": ends if after == now else now - timedelta(days=1, hours=12)}
        MarketGap.objects.create(symbol="VALR:BTC-ZAR", timeframe="1m", reason="it tells nothing", **gap)
    FeedCoverage.objects.create(symbol="VALR:BTC-ZAR", until=ends)
    FeedCoverage.objects.create(symbol="VALR:ETH-ZAR", until=ends)
    return now


def test_what_a_clock_that_was_ahead_took_for_over_is_unknown_again(session: Session, hasty: datetime) -> None:
    session.clock.compare()
    (known,) = session._known().values()
    assert moment(known.until) == (hasty - timedelta(days=1)).replace(minute=0)
    kept = FeedCoverage.objects.order_by("symbol").values_list("until", flat=True)
    assert list(kept) == [moment(known.until), hasty + timedelta(hours=3)]
    left = MarketOHLC.objects.order_by("bar_ts").values_list("timeframe", "bar_ts")
    at = [("1m", 0), ("1d", 2), ("1h", 4)]  # a part of an hour is none, what no such clock has made stays
    assert list(left) == [(timeframe, hasty + timedelta(hours=after_h)) for timeframe, after_h in at]
    assert [gap.until for gap in MarketGap.objects.all()] == [hasty - timedelta(days=1, hours=12)]
    told = SystemEvent.objects.get(kind="feed.taken_back")
    assert (told.subject, told.data["removed"]) == ("VALR:BTC-ZAR", 2)


def test_what_is_over_by_the_venues_clock_stays_known_where_ours_is_behind(
    session: Session, hasty: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Market, "skew_s", lambda _: 10_800.0)
    session.clock.compare()
    (known,) = session._known().values()
    assert moment(known.until) == hasty + timedelta(hours=3)


def test_nothing_is_streamed_while_a_clock_is_days_behind(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Market, "skew_s", lambda _: -172_800.0)
    with pytest.raises(Transient, match=r"this machine's clock is 2\.0 days ahead of that of VALR"):
        asyncio.run(session.run())


def refused(_: Market) -> float:
    raise Transient("the venue does not answer")


@pytest.mark.parametrize("tells", [lambda _: -7_200.0, lambda _: 7_200.0, lambda _: None, refused])
def test_no_bar_is_removed_by_a_clock_that_the_venues_does_not_agree_with(
    session: Session, hasty: datetime, monkeypatch: pytest.MonkeyPatch, tells: Callable[[Market], float | None]
) -> None:
    """Of two clocks that differ one is wrong, be it ours or the venue's, and nobody knows which."""
    monkeypatch.setattr(Market, "skew_s", tells)
    session.clock.compare()
    (known,) = session._known().values()
    assert moment(known.until) < hasty - timedelta(hours=23)
    assert MarketOHLC.objects.count() == 5
    assert SystemEvent.objects.get(kind="feed.taken_back").data["removed"] == 0


def set_by(seconds: float, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clock, from now on."""
    plain, before = clock.offset, session.clock.now_us
    monkeypatch.setattr(clock, "offset", lambda: plain() + seconds)
    session.clock.now_us = lambda: before() + round(seconds * 1e6)


def test_by_a_clock_that_was_set_nothing_is_taken_for_over(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session._minutes, session._hours = session._known(), {"BTCZAR": calendar("24/7")}
    until = session._minutes["BTCZAR"].until
    set_by(10_800.0, session, monkeypatch)
    forming = MinuteBar("BTCZAR", session.clock.now_us() // MINUTE * MINUTE, (9.0, 9.0, 9.0, 9.0, 1.0))
    session._heard(Reading([forming]), b"")  # type: ignore[arg-type]
    assert session._waiting.qsize() == 0
    session._asked.put(("BTCZAR", until, until + MINUTE))
    session._asked.put(None)
    told = list[Any]()
    session._repair(SimpleNamespace(call_soon_threadsafe=lambda *words: told.append(words[-1])))  # type: ignore[arg-type]
    assert told == [None]


@pytest.mark.parametrize("whose", ["this machine's", "VALR"])
def test_a_session_whose_clocks_are_set_ends_and_leaves_nothing_behind(
    session: Session, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """The next one judges anew what is over."""
    for name in ("WATCH_S", "COMPARE_S", "DOUBTED_S"):
        monkeypatch.setattr(session_module, name, 0.01)
    opened = list[tuple[str, Any]]()

    def note(connection: Any, **_: Any) -> None:
        opened.append((threading.current_thread().name, connection))

    async def run() -> None:
        running = asyncio.create_task(session.run())
        assert await asyncio.to_thread(children.wait_until, lambda: session._connected, timeout_s=30)
        if whose == "VALR":
            monkeypatch.setattr(Market, "skew_s", lambda _: -10_800.0)
        else:
            set_by(10_800.0, session, monkeypatch)
        with pytest.raises(Transient, match=f"{whose}( clock)? was set|{whose} clock was set by 10800.0 s"):
            await asyncio.wait_for(running, 30)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    connection_created.connect(note)
    asyncio.run(run())
    own = [connection for thread, connection in opened if "_reporting" in thread]
    assert own
    assert [connection for connection in own if connection.connection is not None] == []


def beside(venue_s: list[float], session: Session, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Our clock stands where it is (what is returned holds it, in us), beside a venue's so far ahead; compared once."""
    monkeypatch.setattr(Market, "skew_s", lambda _: venue_s[0])
    ours = [session.clock.now_us()]
    session.clock.now_us = lambda: ours[0]
    session.clock.compare()
    session._minutes = session._known()
    return ours


def test_a_clock_that_the_venues_own_trades_contradict_is_not_followed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of an answer from a cache; ours may be wrong, too, so it is as late there as was told."""
    (now,) = beside([-300.0], session, monkeypatch)
    told = [Trade("BTCZAR", now - 60_000_000 + k, 9.0, 1.0, "BUY", f"{k}") for k in range(clock.WITNESSES)]
    wrong = replace(told[0], at=now + 3_600_000_000)  # of a time that is still to come by both
    for trade in (wrong, *told[:-1]):
        session._heard(Reading([trade]), b"")  # type: ignore[arg-type]
    assert session.clock.now() == now - 300_000_000
    session._heard(Reading([told[-1]]), b"")  # type: ignore[arg-type]
    session.clock.compare_again()
    assert session.clock.now() == now - 60_000_000
    assert not session.clock.agreed


def test_a_quiet_market_shows_how_late_it_is_at_a_venue_and_not_how_rare_its_trades_are(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten trades at ten seconds from each other, whose moments are told as they come; then its clock is right again."""
    skew_s = [-30.0]
    now = beside(skew_s, session, monkeypatch)
    for number in range(clock.WITNESSES):
        now[0] += 10_000_000
        session._heard(Reading([Trade("BTCZAR", now[0] - 50_000, 9.0, 1.0, "BUY", f"{number}")]), b"")  # type: ignore[arg-type]
    assert session.clock.now() == now[0] - 50_000
    session.clock.compare_again()
    assert session.clock.now() == now[0] - 50_000
    assert SystemEvent.objects.get(kind="feed.clock_contradicted").data["ahead_s"] == -0.05
    skew_s[0] = 5.0
    session.clock.compare_again()
    skew_s[0] = -3.0
    session.clock.compare_again()
    assert session.clock.now() == now[0] - 3_000_000


def test_a_clock_that_is_looked_at_more_often_than_ten_trades_come_is_contradicted_too(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are judged by our clock, which stands as it was. Told once; what is as late as its trades is right."""
    skew_s = [-90.0]
    (now,) = beside(skew_s, session, monkeypatch)
    for _ in range(clock.WITNESSES):
        session.clock.compare_again()
        session.clock.told_later(now)
    assert session.clock.now() == now
    for _ in range(3):
        session.clock.compare_again()
    assert SystemEvent.objects.filter(kind="feed.clock_contradicted").count() == 1
    for _ in range(clock.WITNESSES):
        session.clock.told_later(now - 2_500_000)
    skew_s[0] = -3.0  # whole seconds, or a slow answer
    session.clock.compare_again()
    assert session.clock.now() == now - 3_000_000


def test_trades_of_weeks_that_are_too_late_by_themselves_contradict_no_clock(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = beside([-30.0], session, monkeypatch)
    for _ in range(3 * clock.WITNESSES):
        now[0] += clock.WITNESSED // 5
        session.clock.told_later(now[0])
    assert session.clock.now() == now[0] - 30_000_000
