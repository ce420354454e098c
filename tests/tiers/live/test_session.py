"""The threads of a stream: one that fails ends the session, and none outlives it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import close_old_connections

from helios.errors import Transient
from tests.support.venues.sessions import Reading
from tests.support.venues.stream import Stream as VenueStream
from tests.support.venues.tape import Minute, taped
from tests.support.venues.valr import StandIn
from tiers.ingest.minutes import Closed, Minutes
from tiers.live import relay
from tiers.live.feed import recorder, repair
from tiers.live.feed import session as session_module
from tiers.live.feed.depth import BookSnapshot, OrderBooks
from tiers.live.feed.session import Session
from tiers.live.work_lock import WorkLock
from trading.events import TickerEvent
from trading.market.calendars import calendar
from trading.market.gaps import Gap
from trading.market.timestamps import MINUTE, microseconds, moment
from trading.market.write import UpsertResult
from trading.models import FeedCoverage, MarketGap, MarketOHLC, OrderBookSnapshot
from trading.venues.base import Pair
from trading.venues.streaming import Depth, MinuteBar, Ticker, Trade
from trading.venues.valr.client import Client
from trading.venues.valr.market import Market
from trading.venues.valr.stream import Stream

pytestmark = pytest.mark.django_db(transaction=True)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> threading.Event:
    tried = threading.Event()

    def write(*_: object) -> None:
        tried.set()
        raise error

    monkeypatch.setattr(recorder, "write_trades_and_books", write)
    return tried


def told(session: Session) -> None:
    session._waiting.put(BookSnapshot(symbol="VALR:BTC-ZAR", ts=0, sequence=1, bids=[], asks=[]))


def test_an_instrument_is_streamed_by_one_process_until_that_ends() -> None:
    first, second = WorkLock("feed"), WorkLock("feed")
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
    tried = failing(monkeypatch, Transient("the database is away"))
    told(session)

    async def run() -> None:
        running = asyncio.create_task(session.run())
        assert await asyncio.to_thread(tried.wait, 30)
        running.cancel()
        await asyncio.wait_for(running, 30)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())


def test_order_books_are_asked_for_once_more_only_while_a_line_is_open(session: Session) -> None:
    """A venue that is away for long is not asked for all of them, all at once, when it comes back."""

    async def run() -> bool:
        session._books = OrderBooks({"BTCZAR": "VALR:BTC-ZAR"})
        watching = asyncio.create_task(session._watch())
        await asyncio.sleep(0.05)
        session._again.set()
        session._subscribed()
        watching.cancel()
        return session._again.is_set()

    assert not asyncio.run(run())


def test_books_that_no_line_tells_are_not_asked_for_without_end(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "WATCH_S", 0.001)

    async def run() -> bool:
        session._books, session._connected = OrderBooks({"BTCZAR": "VALR:BTC-ZAR"}), True
        session.clock.now_us = itertools.count(0, 3_600_000_000).__next__
        watching = asyncio.create_task(session._watch())
        await asyncio.sleep(0.2)
        watching.cancel()
        return session._again.is_set()

    assert asyncio.run(run())


def test_a_bar_in_another_unit_is_asked_for_and_stored_as_the_venue_tells_it_then(session: Session) -> None:
    line, start = session.stream, datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert isinstance(line, Stream)
    session._hours = {"BTCZAR": calendar("24/7")}
    session._minutes = {"BTCZAR": repair.resumed("VALR:BTC-ZAR", start, grace=0, of_trades=True, tick=0.01)}
    sent = list[str]()
    heard = VenueStream(change=lambda text: [sent.append(text) or text])
    for number, unit in enumerate((1, 100, 1)):
        prices = dict.fromkeys(("open", "high", "low", "close"), f"{unit * 1_000}")
        heard.bucket("BTCZAR", Minute(start=start + timedelta(minutes=number), **prices, volume="1"))
    for text in sent:
        session._heard(line, text.encode())
    told = [session._waiting.get() for _ in range(session._waiting.qsize())]
    assert [moment(one.closed.close) for one in told] == [start + timedelta(minutes=k) for k in (1, 3)]
    ends = [microseconds(start + timedelta(minutes=k)) for k in (1, 2)]
    assert session._minutes["BTCZAR"].overdue(ends[1]) == tuple(ends)


def test_the_state_of_a_market_is_told_further_now_and_then(session: Session) -> None:
    line, start = session.stream, datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert isinstance(line, Stream)
    session._minutes = session._known()
    sent = list[str]()
    heard = VenueStream(change=lambda text: [sent.append(text) or text])
    for second in (0, 1, 9, 10, 31):
        heard.summary("BTCZAR", start, bidPrice=f"{100 + second}")
        session.clock.now_us = partial(int, microseconds(start) + second * 1_000_000)
        session._heard(line, sent.pop().encode())
    heard.summary("BTCZAR", start + timedelta(days=1), bidPrice="1")  # of later than now
    session.clock.now_us = lambda: microseconds(start) + 60_000_000
    session._heard(line, sent.pop().encode())
    odd = Ticker(
        code="BTCZAR", at=-(10**18), bid=None, ask=None, last=None, mark=None, high=None, low=None, volume=0, change=0
    )
    session._heard(Reading([odd]), b"")  # of a time that has no name: a message like one that cannot be read
    told = [session._waiting.get() for _ in range(session._waiting.qsize())]
    assert all(isinstance(one, TickerEvent) for one in told)
    assert [(one.symbol, one.bid, one.ask) for one in told] == [
        ("VALR:BTC-ZAR", 100.0, None),
        ("VALR:BTC-ZAR", 110.0, None),
        ("VALR:BTC-ZAR", 131.0, None),
    ]
    session.bus.publish(told)
    assert [entry.event for entry in session.bus.read("ticker")] == told


def test_without_a_line_bars_and_order_books_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute in question ends half a second from now, by the session's clock."""
    monkeypatch.setattr(session_module, "GRACE", 0)
    ends = datetime(2026, 1, 5, 10, tzinfo=UTC)
    tape = taped([(ends - timedelta(hours=1), "90", "1"), (ends - timedelta(seconds=30), "100", "2")])
    shift = microseconds(ends) - time.time_ns() // 1_000 - 500_000
    with StandIn({("BTC", "ZAR"): tape}) as venue, Client(venue.url) as client:
        venue.stream.offer(ends - timedelta(hours=1), "BTCZAR", "buy", "b", "99.5", "2")
        market = Market(client)
        made = Session(market, None, list(market.pairs([]).values()), relay.bus())
        made.clock.now_us = lambda: time.time_ns() // 1_000 + shift

        async def run() -> None:
            running = asyncio.create_task(made.run())
            await asyncio.to_thread(wait)
            running.cancel()
            await asyncio.wait([running])

        def wait() -> None:
            while not (OrderBookSnapshot.objects.exists() and FeedCoverage.objects.filter(until__gte=ends).exists()):
                time.sleep(0.05)
            close_old_connections()

        asyncio.run(asyncio.wait_for(run(), 60))
    noted = OrderBookSnapshot.objects.get()
    assert timedelta(0) < noted.ts - ends < timedelta(seconds=30)
    assert (noted.symbol, noted.bids, noted.asks) == ("VALR:BTC-ZAR", [["99.5", "2"]], [])
    bars = MarketOHLC.objects.filter(timeframe="1m").order_by("bar_ts").values_list("bar_ts", "close", "source")
    assert list(bars) == [
        (ends - timedelta(minutes=59), 90.0, "valr:buckets"),
        (ends, 100.0, "valr:buckets"),
    ]


def test_a_time_in_which_nobody_streamed_for_more_than_a_day_is_a_gap(session: Session) -> None:
    until = datetime(2026, 1, 5, 10, 20, tzinfo=UTC)
    FeedCoverage.objects.create(symbol="VALR:BTC-ZAR", until=until)
    (known,) = session._known().values()
    gap = MarketGap.objects.get()
    assert (gap.after, gap.until, gap.reason) == (
        until,
        moment(known.until),
        "nobody streamed then; repair_data asks for it",
    )


def test_no_higher_bar_holds_what_the_venue_keeps_nothing_of(session: Session) -> None:
    minute, midday = timedelta(minutes=1), datetime(2026, 1, 5, 12, tzinfo=UTC)
    begins, ends = midday + 20 * minute, midday + 60 * minute
    session._minutes = {"BTCZAR": repair.resumed("VALR:BTC-ZAR", midday, grace=0, of_trades=True)}
    rows = {microseconds(begins + k * minute): (9.0, 9.0, 9.0, 9.0, 1.0) for k in range(1, 41)}
    silent = Gap(after=midday, until=begins, reason="VALR tells nothing of it")
    session._repaired("BTCZAR", microseconds(midday), repair.Fetched(until=ends, rows=rows, silent=silent))
    told = [session._waiting.get() for _ in range(session._waiting.qsize())]
    minutes = [Closed(symbol="VALR:BTC-ZAR", close=close, row=row) for close, row in rows.items()]
    recorder.write([recorder.KnownMinute(closed=each, higher=[], until=each.close) for each in minutes], "valr:buckets")
    recorder.write_known([each for each in told if isinstance(each, recorder.KnownMinute)], "valr:stream")
    stored = MarketOHLC.objects.filter(timeframe__in=["15m", "1h"]).order_by("bar_ts")
    assert [(bar.timeframe, bar.bar_ts) for bar in stored] == [("15m", midday + k * 15 * minute) for k in (3, 4)]


def test_a_line_that_does_not_hold_is_tried_again_after_twice_as_long_less_a_random_part(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    class Broken(Reading):
        async def listen(self, *_: Any, **__: Any) -> None:
            raise Transient("refused")

    async def sleep(pause_s: float) -> None:
        if threading.current_thread() is not threading.main_thread():  # the venue's, whose pauses are its own
            await plain(pause_s)
            return
        pauses.append(pause_s)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    plain = asyncio.sleep
    monkeypatch.setattr(session_module.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(session._connect(Broken([])))  # type: ignore[arg-type]
    longest = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len({pause / most for pause, most in zip(pauses, longest, strict=True)}) == 8


def test_trades_and_bars_of_a_time_to_come_are_not_taken(session: Session) -> None:
    """Nor is what is told of another pair; bars and messages that are passed over are counted in the log."""
    at = 1_767_607_200_000_000
    session.clock.now_us = lambda: at
    session._minutes = {"BTCZAR": Minutes(symbol="VALR:BTC-ZAR", until=at - MINUTE, heard_from=at - MINUTE)}
    session._hours = {"BTCZAR": calendar("24/7")}
    late = Trade("BTCZAR", at + 2_000_000, 9.0, 1.0, "BUY", "a")
    ahead = MinuteBar("BTCZAR", at + MINUTE, (9.0, 9.0, 9.0, 9.0, 1.0))
    far = replace(ahead, close=at + 3 * MINUTE)
    session._heard(Reading([late, replace(ahead, code="ETHZAR"), far, ahead]), b"")  # type: ignore[arg-type]
    assert session._passed_over == {"pair": 1, "time": 1}
    assert (session._waiting.qsize(), session._minutes["BTCZAR"].open) == (0, {})
    session._heard(Reading([replace(late, at=at - 1), replace(ahead, close=at)]), b"")  # type: ignore[arg-type]
    told = session._waiting.get_nowait()
    assert isinstance(told, recorder.KnownMinute)
    assert told.closed.row == (9.0, 9.0, 9.0, 9.0, 1.0)
    assert session._waiting.empty()


def test_of_minutes_that_nothing_closes_not_all_trades_are_kept(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are bounded for all pairs of a venue together."""
    monkeypatch.setattr(session_module, "MOST_OPEN", 30)
    session._minutes = {code: Minutes(symbol=code, until=0, heard_from=0) for code in "abc"}
    session.clock.now_us = lambda: 30
    for number, code in enumerate("abc" * 9 + "bbbbb"):
        session._minutes[code].trade(number, 10.0, 1.0, "BUY")
    session._forget_open()
    assert {code: (each.n_open, each.heard_from) for code, each in session._minutes.items()} == {
        "a": (9, 0),
        "b": (0, 30),
        "c": (9, 0),
    }
    session._minutes["a"].bar(MINUTE, (10.0, 10.0, 10.0, 10.0, 9.0))
    assert session._minutes["a"].n_open == 0
    row = (10.0, 10.0, 10.0, 10.0, 1.0)
    for close in (MINUTE, 2 * MINUTE):  # the minute of which trades are forgotten, and the next one
        session._minutes["b"].trade(close - 1, 10.0, 1.0, "BUY")
        closed = session._minutes["b"].bar(close, row)
        assert closed is not None
        assert (closed.row, closed.differs, len(closed.trades)) == (row, False, int(close > MINUTE))


def test_bars_that_were_stored_before_count_once(session: Session) -> None:
    session._minutes = {"BTCZAR": Minutes(symbol="VALR:BTC-ZAR", until=0)}
    rows = {k * MINUTE: (9.0, 9.0, 9.0, 9.0, 1.0) for k in range(1, 61)}
    anew = {
        ("VALR:BTC-ZAR", "1m"): UpsertResult(inserted=2, unchanged=58),
        ("VALR:BTC-ZAR", "1h"): UpsertResult(inserted=1),
    }
    session._repaired("BTCZAR", 58 * MINUTE, repair.Fetched(until=moment(60 * MINUTE), rows=rows, stored=anew))
    assert session.n_stored == 3


def test_an_answer_that_no_reader_foresees_costs_its_order_book_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = [], iter([KeyError("bids"), Depth("BTCZAR", 1, 1, [("9", "9", "1")], [], whole=True)])

    def depth(_: Market, pair: Pair) -> Depth:
        asked.append(pair.code)
        if isinstance(answer := next(answers), Exception):
            raise answer
        session._ending.set()
        return answer

    monkeypatch.setattr(Market, "depth", depth)
    session._books = OrderBooks({"BTCZAR": "VALR:BTC-ZAR"})
    session.clock.now_us = lambda: 2 * MINUTE - 1
    session._ask_books()
    assert asked == ["BTCZAR", "BTCZAR"]
    assert session._waiting.qsize() == 1


def test_a_venue_that_is_away_for_days_is_asked_and_heard_again(session: Session) -> None:
    session._minutes = {"BTCZAR": Minutes(symbol="VALR:BTC-ZAR", until=0)}
    session._refused["BTCZAR"] = 5_000
    session._asking["BTCZAR"] = float("inf")
    session._repaired("BTCZAR", 0, None)
    assert session._asking["BTCZAR"] <= time.monotonic() + session_module.LONGEST_PAUSE_S
    assert session_module._doubled(1.0, 5_000) == session_module.LONGEST_PAUSE_S
