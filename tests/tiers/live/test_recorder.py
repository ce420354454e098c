"""Closed minutes on their way into the table: together, once, and none that breaks a rule."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from helios.events.models import SystemEvent
from tiers.ingest.minutes import Closed, DueBar
from tiers.live.feed import recorder
from tiers.live.feed.depth import BookSnapshot
from tiers.live.feed.recorder import KnownMinute
from trading.market.bars import BarValues
from trading.market.coverage import cover
from trading.market.timestamps import MINUTE, moment
from trading.models import FeedCoverage, MarketOHLC, MarketTrade, OrderBookSnapshot

pytestmark = pytest.mark.django_db
T = 1_767_607_200_000_000  # 2026-01-05 10:00
GOOD = (10.0, 12.0, 9.0, 11.0, 3.0)
BAD = (10.0, 9.0, 12.0, 11.0, 3.0)  # the high is below the low


def told(symbol: str, row: BarValues | None, *, close: int = T, higher: list[DueBar] | None = None) -> KnownMinute:
    return KnownMinute(closed=Closed(symbol=symbol, close=close, row=row), higher=higher or [], until=close)


def test_minutes_are_stored_and_known_with_the_bars_above_them() -> None:
    """Who is killed in between is followed by a process that asks for what is not known."""
    heard = [
        told("A", GOOD, higher=[DueBar(timeframe="5m", close=T, n=1)]),
        told("B", None),
        told("C", GOOD, close=T - MINUTE),
        told("C", GOOD),
    ]
    recorder.write(heard, "test")
    bars = MarketOHLC.objects.values_list("symbol", "timeframe", "bar_ts__minute")
    assert sorted(bars) == [("A", "1m", 0), ("C", "1m", 0), ("C", "1m", 59)]
    assert not FeedCoverage.objects.exists()
    recorder.write_known(heard, "test")
    assert sorted(bars.all()) == [("A", "1m", 0), ("A", "5m", 0), ("C", "1m", 0), ("C", "1m", 59)]
    assert {(one.symbol, one.until) for one in FeedCoverage.objects.all()} == {(s, moment(T)) for s in "ABC"}


def test_what_is_known_once_stays_so_whoever_tells_of_it_last() -> None:
    """One thread stores what is heard, and another what was asked for meanwhile."""
    for until in (T, T - MINUTE):
        cover({"A": until})
    assert FeedCoverage.objects.get().until == moment(T)


def test_a_higher_bar_is_made_of_the_minutes_that_are_stored_now() -> None:
    """Another process has corrected one of them since this one heard of it."""
    for k in range(4):
        recorder.write([told("A", (10.0 + k, 20.0, 9.0, 11.0 + k, 0.1), close=T - k * MINUTE)], "test")
    MarketOHLC.objects.filter(bar_ts=moment(T - 2 * MINUTE)).update(high=99.0, volume=18.0)
    higher = [DueBar(timeframe="5m", close=T, n=4), DueBar(timeframe="15m", close=T, n=5)]
    events = recorder.write_known([told("A", None, higher=higher)], "test")
    (bar,) = MarketOHLC.objects.exclude(timeframe="1m")
    row = (bar.open, bar.high, bar.low, bar.close, bar.volume)
    assert (bar.timeframe, row) == ("5m", (13.0, 99.0, 9.0, 11.0, 0.1 + 18.0 + 0.1 + 0.1))
    assert events == [recorder.bar_event("A", "5m", T, row)]


def test_a_bar_that_breaks_a_rule_is_told_and_the_others_are_stored() -> None:
    recorder.write([told("A", GOOD), told("B", BAD)], "test")
    assert [one.symbol for one in MarketOHLC.objects.all()] == ["A"]
    event = SystemEvent.objects.get(kind="feed.bad_bar")
    assert event.subject == "B"
    assert "expected the highest price of its bar" in event.data["problem"]


def test_trades_that_fill_the_disk_are_told_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr(recorder.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(recorder, "MANY", 3)
    monkeypatch.setattr(recorder, "TRADE_BYTES", 10**9)
    trades = ((T - 2, 10.0, 1.0, "BUY", "a"), (T - 1, 10.0, 1.0, "BUY", "b"))
    told_of = SystemEvent.objects.filter(kind="feed.many_trades", subject="FLOOD").order_by("id")
    for after_s, n_told in ((0.0, 0), (86.4, 1), (86.4, 1), (3_600.0, 1), (10.0, 2)):
        now[0] += after_s
        recorder.write_trades_and_books([Closed(symbol="FLOOD", close=T, row=GOOD, trades=trades)])
        assert told_of.count() == n_told
    assert told_of[0].data == {"n": 4, "gb_a_day": 4 * 1_000}


def test_trades_and_order_books_are_stored_together_and_once() -> None:
    twice = (T - 30_000_000, 10.0, 1.0, "BUY", "")
    trades = (twice, twice, (T - 1, 11.0, 1e-9, "SELL", "a-7"), (T - 1, 11.0, 0.0, "SELL", ""))
    book = BookSnapshot(symbol="A", ts=T, sequence=7, bids=[("9", "1")], asks=[])
    further = [Closed(symbol="A", close=T, row=GOOD, trades=trades), book, replace(book, sequence=8)]
    for part in (further, further, [book, Closed(symbol="B", close=T, row=GOOD)]):  # as another stream has stored them
        recorder.write_trades_and_books(part)
    stored = sorted(MarketTrade.objects.values_list("side", "quantity", "trade_id"))
    made = [("BUY", 1, f"{T - 30_000_000}-{number}") for number in range(2)]
    assert stored == [*made, ("SELL", Decimal("1e-9"), "a-7")]
    assert list(OrderBookSnapshot.objects.values_list("symbol", "sequence", "bids")) == [("A", 7, [["9", "1"]])]


def test_a_volume_next_to_nothing_corrects_one_that_is_stored() -> None:
    for volume in (3.0, 5e-324):
        recorder.write([told("A", (*GOOD[:4], volume))], "test")
    assert list(MarketOHLC.objects.values_list("volume", "revision")) == [(5e-324, 1)]
