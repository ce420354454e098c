"""What waits behind the bars of a stream: in parts, after the bars, and without holding them up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db import DataError, OperationalError

from helios.errors import Transient
from helios.events.bus import Event
from tiers.ingest.minutes import Closed, DueBar, HeardTrade
from tiers.live.feed import recorder, writer
from tiers.live.feed.depth import BookSnapshot
from tiers.live.feed.recorder import KnownMinute
from tiers.live.feed.writer import Writer
from trading.market.timestamps import MINUTE, moment
from trading.models import MarketOHLC, MarketTrade

pytestmark = pytest.mark.django_db
MOMENTS = [number // 3 for number in range(600)]  # three trades at each
BOOK = BookSnapshot(symbol="A", ts=0, sequence=1, bids=[("9", "1")], asks=[])


class Silent:
    """A bus that nobody hears."""

    def publish(self, events: list[Event]) -> None: ...


@pytest.fixture
def made() -> Writer:
    return Writer(bus=Silent(), source="test")  # type: ignore[arg-type]


def bar(close: int, moments: list[int] = MOMENTS) -> KnownMinute:
    trades: tuple[HeardTrade, ...] = tuple((at, 9.0, 1.0, "BUY", "") for at in moments)
    return KnownMinute(closed=Closed(symbol="A", close=close, row=None, trades=trades), higher=[], until=close)


def stored_by(made: Writer, monkeypatch: pytest.MonkeyPatch, coming: dict[int, list[Any]]) -> list[list[Any]]:
    """What is stored at once: bars by their close, what is above them by its tenfold, what is behind by its negative.

    `coming` is told while that is stored.
    """
    stored: list[list[Any]] = []

    def store(which: list[Any]) -> None:
        if which:
            stored.append(which)
        for each in which:
            for told in coming.pop(each, []):
                made.waiting.put(told)

    def bars(times: int) -> Callable[[list[KnownMinute], str], list[Event]]:
        return lambda found, _: store([times * one.closed.close for one in found]) or []

    monkeypatch.setattr(recorder, "write", bars(1))
    monkeypatch.setattr(recorder, "write_known", bars(10))
    behind = lambda found: store([-one.close if isinstance(one, Closed) else "book" for one in found])  # noqa: E731
    monkeypatch.setattr(recorder, "write_trades_and_books", behind)
    made.run()
    return stored


def test_no_bar_waits_for_more_than_a_part_of_what_nobody_waits_for(
    made: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for told in (bar(1), BOOK, bar(2), bar(3)):
        made.waiting.put(told)
    stored = stored_by(made, monkeypatch, {1: [bar(4)], -1: [bar(5), None]})
    assert stored == [[1, 2, 3], [4], [10, 20, 30, 40], ["book", -1, -2], [5], [50], [-3, -4], [-5]]


@pytest.mark.parametrize("failing", ["write", "write_known"])
def test_behind_what_is_not_stored_at_the_end_nothing_is_known(
    made: Writer, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    known: list[int] = []

    def fail(found: list[KnownMinute], _: str) -> list[Event]:
        if any(one.closed.close == 1 for one in found):
            made.waiting.put(bar(2))
            made.waiting.put(None)
            made.ending.set()
            raise Transient("the database is away")
        return [] if failing == "write" else know(found, _)

    def know(found: list[KnownMinute], _: str) -> list[Event]:
        known.extend(one.closed.close for one in found)
        return []

    monkeypatch.setattr(recorder, "write_known", know)
    monkeypatch.setattr(recorder, failing, fail)
    made.waiting.put(bar(1))
    made.run()
    assert known == []


def test_minutes_that_a_database_lost_when_it_died_are_stored_again_before_they_are_known(
    made: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their commit did not wait for the disk, and a server that is started anew has what its disk has."""
    left, write_known, at = [2, 1], recorder.write_known, 1_767_607_200_000_000

    def die(found: list[KnownMinute], source: str) -> list[Event]:
        if found and left:
            MarketOHLC.objects.all().delete()
            if left.pop() == 1:
                made.waiting.put(KnownMinute(closed=replace(closed, close=at + MINUTE), higher=[], until=at + MINUTE))
                made.waiting.put(None)
            raise OperationalError("server closed the connection unexpectedly")
        return write_known(found, source)

    monkeypatch.setattr(recorder, "write_known", die)
    monkeypatch.setattr(writer, "close_old_connections", lambda: None)  # it is the test's own
    closed = Closed(symbol="A", close=at, row=(10.0, 12.0, 9.0, 11.0, 3.0))
    made.waiting.put(KnownMinute(closed=closed, higher=[], until=at))
    made.run()
    kept = MarketOHLC.objects.order_by("bar_ts").values_list("bar_ts", flat=True)
    assert [*kept] == [moment(at), moment(at + MINUTE)]
    assert made.n_stored == 2


def test_a_minute_of_very_many_trades_is_cut_between_moments() -> None:
    moments = [0] * 1_500 + [1] * 10 + [3, 2] * 800
    parts = list(writer._parts(bar(1, moments).closed))
    assert [trade[0] for part in parts for trade in part.trades] == sorted(moments)
    assert [len(part.trades) for part in parts] == [1_500, 810 + 800]
    assert list(writer._parts(bar(1, []).closed)) == []


def test_bars_go_on_while_what_is_behind_them_cannot_be_stored(made: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, tried, away = list[list[int]](), threading.Event(), threading.Event()
    away.set()
    monkeypatch.setattr(writer, "LATER_S", 0.2)

    def write_trades_and_books(found: list[Closed]) -> None:
        if away.is_set():
            tried.set()
            raise Transient("its table is locked")
        stored.append([-one.close for one in found])

    monkeypatch.setattr(recorder, "write", lambda found, _: stored.append([one.closed.close for one in found]) or [])
    monkeypatch.setattr(recorder, "write_known", lambda *_: [])
    monkeypatch.setattr(recorder, "write_trades_and_books", write_trades_and_books)
    running = threading.Thread(target=made.run)
    running.start()
    made.waiting.put(bar(1))
    assert tried.wait(30)
    made.waiting.put(bar(2, []))
    deadline = time.monotonic() + 30
    while [2] not in stored and time.monotonic() < deadline:
        time.sleep(0.01)
    away.clear()
    while [-1] not in stored and time.monotonic() < deadline:
        time.sleep(0.01)
    made.waiting.put(None)
    running.join(30)
    assert stored == [[1], [2], [-1]]


def test_at_the_end_what_cannot_be_stored_is_left(made: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise Transient("the database is away")

    monkeypatch.setattr(recorder, "write", fail)
    monkeypatch.setattr(recorder, "write_trades_and_books", fail)
    made.ending.set()
    for told in (bar(1), BOOK, None):
        made.waiting.put(told)
    made.run()
    assert made.n_stored == 0


def test_what_never_can_be_stored_is_left_and_what_is_behind_it_is_stored(made: Writer) -> None:
    """However often: the database answered, and its breaker stays closed for all that can be stored."""
    at = 1_767_607_200_000_000
    clash: tuple[HeardTrade, ...] = ((at, 9.0, 1.0, "HOLD", ""),)
    many = tuple((at + 1 + number, 9.0, 1.0, "BUY", "") for number in range(1_000))
    closed = Closed(symbol="A", close=at, row=None, trades=clash + many)
    made._trades_and_books.extend([*[closed] * 30, replace(closed, symbol="B", trades=many)])
    made.waiting.put(None)
    made.run()
    assert set(MarketTrade.objects.values_list("symbol", flat=True)) == {"B"}


def test_a_bar_that_never_can_be_stored_keeps_no_other_from_being_stored(
    made: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[int] = []

    def write(found: list[KnownMinute], _: str) -> list[Event]:
        if any(one.closed.close == 3 for one in found):
            raise DataError("value out of range")
        stored.extend(one.closed.close for one in found)
        return []

    monkeypatch.setattr(recorder, "write", write)
    monkeypatch.setattr(recorder, "write_known", lambda *_: [])
    for told in (*(bar(close, []) for close in range(1, 8)), None):
        made.waiting.put(told)
    made.run()
    assert stored == [1, 2, 4, 5, 6, 7]


def test_a_minute_is_known_where_the_bar_above_it_can_never_be_stored(
    made: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own bar's commit waits for no disk: the one that says how far all is known keeps it."""
    known: list[int] = []

    def write_known(found: Sequence[KnownMinute], _source: str) -> list[Event]:
        if any(one.higher for one in found):
            raise DataError("value out of range: overflow")
        known.extend(one.until for one in found)
        return []

    monkeypatch.setattr(recorder, "write", lambda *_: [])
    monkeypatch.setattr(recorder, "write_known", write_known)
    above = [DueBar(timeframe="5m", close=2, n=1)]
    for told in (bar(1, []), replace(bar(2, []), higher=above), bar(3, []), None):
        made.waiting.put(told)
    made.run()
    assert known == [1, 2, 3]


def test_nothing_is_stored_behind_bars_that_were_left_to_the_next_process(made: Writer) -> None:
    tried = list[list[int]]()

    def write(closed: Sequence[KnownMinute], _source: str) -> list[Event]:
        tried.append([one.closed.close for one in closed])
        raise DataError("one of them") if len(closed) > 1 else Transient("away")

    made.ending.set()
    assert made._store(write, [bar(1), bar(2)]) is False
    assert tried == [[1, 2], [1]]
