"""Which bar a cycle decides on, when it may start, and where its bars come from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import numpy as np
import pytest
from django.utils import timezone

from helios.db.partitions import ensure_partitions
from helios.env import Env
from helios.events.models import SystemEvent
from tests.support.live_market import make_bars, stored
from tests.support.market_bars import make_bars as make_minutes
from tiers.live import chain, lateness, schedule, stages
from tiers.live.handlers import ingest
from trading.books import write as books
from trading.market import instruments, timeframes
from trading.market import write as market_service
from trading.market.timestamps import utc
from trading.models import Book, EngineeredFeatures, FeedCoverage, Instrument, LedgerEntry, MarketOHLC, Stage

pytestmark = pytest.mark.django_db
N = 120


@pytest.fixture
def bars(db):
    return stored(make_bars(("AAPL", "IBM"), n_bars=N, seed=3))


@pytest.fixture
def times(bars):
    return [utc(ts) for ts in bars.ts]


def make_book(**options):
    wanted = {"mode": "replay", "timeframe": "1d", "symbols": ["AAPL", "IBM"], **options}
    return books.create_book("desk", initial_cash=D(100_000), fee_bps=D(5), slippage_bps=D(2), **wanted)


def test_bars_are_ingested_from_a_path_as_long_as_a_book_takes(bars, times, tmp_path):
    room = 255 - len(f"file:{tmp_path}/.csv")
    path = tmp_path / f"{'x' * room}.csv"
    path.write_text(f"ts,open,high,low,close,volume\n{times[-1].isoformat()},1,1,1,1,7\n")
    MarketOHLC.objects.filter(symbol="IBM", bar_ts=times[-1]).delete()
    book = make_book(symbols=["IBM"], feed=f"file:{path}")
    cycle = chain.start(book, times[-1], send=False)
    stages.run_stage(cycle.pk, Stage.INGEST)
    cycle.refresh_from_db()
    assert (cycle.status, cycle.stage) == ("RUNNING", "features")
    assert MarketOHLC.objects.get(symbol="IBM", bar_ts=times[-1]).source == str(book.feed)


def test_a_file_writes_over_no_stored_bar(bars, times, tmp_path):
    before = list(MarketOHLC.objects.filter(symbol="IBM").order_by("bar_ts").values())
    path = tmp_path / "other.csv"
    path.write_text(f"ts,open,high,low,close,volume\n{times[-1].isoformat()},1,1,1,1,7\n")
    cycle = chain.start(make_book(symbols=["IBM"], feed=f"file:{path}"), times[-1], send=False)
    stages.run_stage(cycle.pk, Stage.INGEST)
    cycle.refresh_from_db()
    assert cycle.status == "FAILED"
    assert f"source file:{path} must have the bars of IBM that are stored, has open 1 of" in cycle.reason
    assert list(MarketOHLC.objects.filter(symbol="IBM").order_by("bar_ts").values()) == before


def test_a_cycle_writes_over_no_stored_higher_bar(db, clean_redis):
    """One's own bars of an hour need not be those that minutes make."""
    hour = datetime(2024, 3, 1, 16, 0, tzinfo=UTC)
    instruments.ensure_instrument("BTC/USD", "crypto")
    market_service.upsert_bars(make_minutes(60, "BTC/USD", first="2024-03-01T15:01"), source="file:minutes.csv")
    own = make_minutes(1, "BTC/USD", timeframe="1h", first="2024-03-01T16:00", seed=9)
    market_service.upsert_bars(own, source="file:hours.csv")
    before = MarketOHLC.objects.filter(timeframe="1h").values().get()
    cycle = chain.start(make_book(timeframe="1m", symbols=["BTC/USD"]), hour, send=False)
    stages.run_stage(cycle.pk, Stage.INGEST)
    assert MarketOHLC.objects.filter(timeframe="1h").values().get() == before
    assert {bar.timeframe for bar in MarketOHLC.objects.filter(source="table")} == {"5m", "15m"}


# --- when a cycle may start ---


@pytest.fixture
def paper(db):
    """A paper book of two minute series that never close, and a function that lets a bar of one arrive."""
    for symbol in ("BTC/USD", "ETH/USD"):
        instruments.ensure_instrument(symbol, "crypto")
    return make_book(mode="paper", timeframe="1m", symbols=["BTC/USD", "ETH/USD"])


MINUTES = make_minutes(130, "BTC/USD", "ETH/USD", first="2024-03-01T14:31")
LAST = datetime(2024, 3, 1, 16, 40, tzinfo=UTC)


def arrive(symbols="BTC/USD ETH/USD", first=129, *, seconds_ago=0.0, minutes=MINUTES):
    """Store the bars of some symbols from a row on, as if that had been a while ago."""
    close = minutes.close.copy()
    close[:, [symbol not in symbols for symbol in minutes.symbols]] = np.nan
    stored = market_service.upsert_bars(replace(minutes, close=close).rows(slice(first, None)), source="feed")
    seen = timezone.now() - timedelta(seconds=seconds_ago)
    MarketOHLC.objects.filter(ingested_at__gt=seen).update(ingested_at=seen)
    return stored


def test_a_cycle_starts_once_every_symbol_has_the_bar(paper):
    assert schedule.due_bar(paper) is None
    arrive("BTC/USD")
    assert schedule.due_bar(paper) is None
    arrive("ETH/USD")
    assert schedule.due_bar(paper) == LAST


def test_it_starts_after_the_wait_and_names_who_is_missing(paper, monkeypatch):
    monkeypatch.setattr(ingest, "late_now", lambda *_: False)
    arrive(first=0)
    MarketOHLC.objects.filter(symbol="ETH/USD", bar_ts=LAST).delete()
    wait_s = Env().bar_wait_s["1m"]
    for waited, due in ((wait_s - 1.0, None), (wait_s, LAST)):
        MarketOHLC.objects.update(ingested_at=timezone.now() - timedelta(seconds=waited))
        assert schedule.due_bar(paper) == due
    cycle = chain.start(paper, LAST, send=False)
    stages.run_stage(cycle.pk, Stage.INGEST)
    assert cycle.stage_runs.get().reason == "no bar of ETH/USD"
    assert LedgerEntry.objects.get(cycle=cycle).payload["missing"] == ["ETH/USD"]
    event = SystemEvent.objects.get(kind="bars.missing")
    assert (event.severity, event.data) == ("warning", {"book": "desk", "symbols": ["ETH/USD"]})


def test_a_bar_that_comes_after_its_cycle_is_in_the_windows_of_the_next(paper, monkeypatch):
    monkeypatch.setattr(ingest, "late_now", lambda *_: False)
    arrive(first=0)
    MarketOHLC.objects.filter(symbol="ETH/USD", bar_ts__gte=LAST - timedelta(minutes=1)).delete()
    MarketOHLC.objects.filter(bar_ts=LAST).delete()
    cycle = chain.start(paper, LAST - timedelta(minutes=1), send=False)
    for stage in (Stage.INGEST, Stage.FEATURES):
        stages.run_stage(cycle.pk, stage)
    type(cycle).objects.update(status="DONE", finished_at=timezone.now())
    arrive(first=128)
    assert schedule.due_bar(paper) == LAST
    cycle = chain.start(paper, LAST, send=False)
    for stage in (Stage.INGEST, Stage.FEATURES):
        stages.run_stage(cycle.pk, stage)
    rows = EngineeredFeatures.objects.filter(bar_ts__gte=LAST - timedelta(minutes=1))
    assert sorted(rows.values_list("symbol", "bar_ts")) == [
        (symbol, LAST - timedelta(minutes=late)) for symbol in paper.symbols for late in (1, 0)
    ]


def test_a_feed_that_fell_silent_ends_one_cycle_with_its_reason_and_is_told(paper, monkeypatch):
    monkeypatch.setattr(chain, "send_chain", lambda *_: True)
    paper.active = True
    paper.save()
    assert schedule.tick() == 0  # a market that was never heard of is not silent
    arrive(first=0)
    assert schedule.stale_bar(paper) > LAST
    chain.start(paper, LAST)
    paper.cycles.update(status="DONE", finished_at=timezone.now())
    assert schedule.tick() == 1
    cycle = paper.cycles.latest("pk")
    limit = timedelta(seconds=Env().max_bar_lateness_s["1m"])
    assert timedelta() <= timezone.now() - limit - cycle.bar_ts < timedelta(minutes=2)
    stages.run_stage(cycle.pk, Stage.INGEST)
    cycle.refresh_from_db()
    assert cycle.status == "SKIPPED", cycle.reason
    assert cycle.reason.endswith("UTC, the newest one is of 2024-03-01 16:40: its feed is stale")
    event = SystemEvent.objects.get(kind="feed.stale")
    assert (event.severity, event.data) == ("critical", {"book": "desk", "newest": LAST.isoformat()})
    assert schedule.tick() == 0  # once
    paper.cycles.filter(pk=cycle.pk).update(bar_ts=LAST + timedelta(minutes=1))
    arrive(first=129, minutes=replace(MINUTES, ts=MINUTES.ts + np.timedelta64(2, "m")))
    assert schedule.due_bar(paper) == LAST + timedelta(minutes=2)
    assert schedule.stale_bar(paper) is not None  # the next silence is another one


def test_a_market_in_which_nobody_traded_is_not_silent(paper):
    arrive(first=0)
    now = timezone.now().replace(second=0, microsecond=0)
    FeedCoverage.objects.create(symbol="ETH/USD", until=now)
    assert schedule.stale_bar(paper) is None
    for until in (now - timedelta(minutes=10), now + timedelta(hours=3)):  # of what is to come nothing can be known
        FeedCoverage.objects.update(until=until)
        assert schedule.stale_bar(paper) is not None


def test_a_bar_that_is_still_to_come_is_not_decided_on(paper):
    """As one that a clock made which was ahead."""
    arrive(first=0)
    assert schedule.due_bar(paper) == LAST
    to_come = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    ensure_partitions("market_ohlc", "year", to_come, to_come)
    MarketOHLC.objects.filter(symbol="ETH/USD", bar_ts=LAST).update(bar_ts=to_come)
    assert schedule.due_bar(paper) is None


def test_a_market_that_is_closed_is_not_silent(paper, monkeypatch):
    instruments.ensure_instrument("AAPL", "equity")
    paper.symbols, friday = ["AAPL"], datetime(2024, 3, 1, 21, tzinfo=UTC)
    market_service.upsert_bars(make_minutes(1, "AAPL", first="2024-03-01T21:00"), source="feed")
    limit_s = Env().max_bar_lateness_s["1m"]
    for opened, stale in ((timedelta(), None), (timedelta(minutes=3), timedelta(minutes=3))):
        monday = datetime(2024, 3, 4, 14, 30, 1, tzinfo=UTC)
        monkeypatch.setattr(schedule.timezone, "now", lambda at=monday + opened: at + timedelta(seconds=limit_s))
        expected = None if stale is None else monday.replace(second=0) + stale
        assert schedule.stale_bar(paper) == expected, friday


def test_a_correction_does_not_begin_the_wait_again(paper):
    arrive("BTC/USD", seconds_ago=60)
    louder = replace(MINUTES, volume=MINUTES.volume + 1.0)
    assert arrive("BTC/USD", minutes=louder).corrected == 1
    assert schedule.due_bar(paper) == LAST


def test_nobody_waits_for_a_symbol_whose_market_is_closed(paper):
    instruments.ensure_instrument("AAPL", "equity")
    paper.symbols = ["AAPL", "BTC/USD"]
    paper.save()
    arrive("BTC/USD")
    assert schedule.due_bar(paper) is None  # 11:40 in New York, on a Friday
    Instrument.objects.filter(symbol="AAPL").update(calendar="of nobody")
    assert schedule.due_bar(paper) is None
    Instrument.objects.filter(symbol="AAPL").update(calendar="XNYS")
    night = make_minutes(130, "BTC/USD", first="2024-03-02T00:01")  # the session ended three hours before
    arrive("BTC/USD", minutes=night)
    assert schedule.due_bar(paper) == utc(night.ts[-1])


def test_a_replay_waits_for_nobody(bars, times):
    book = make_book(replay_from=times[-2], replay_until=times[-1])
    MarketOHLC.objects.filter(symbol="IBM", bar_ts__gte=times[-2]).delete()
    assert schedule.due_bar(book) == times[-2]
    cycle = chain.start(book, times[-2], send=False)
    stages.run_stage(cycle.pk, Stage.INGEST)
    assert cycle.stage_runs.get().reason == "no bar of IBM"
    assert not SystemEvent.objects.filter(kind="bars.missing").exists()


# --- when a bar is too old ---


@pytest.mark.parametrize("timeframe", timeframes.TIMEFRAMES)
def test_a_bar_is_late_after_a_quarter_of_its_length(timeframe):
    env, length = Env(), timeframes.seconds(timeframe)
    limit_s = env.max_bar_lateness_s[timeframe]
    assert limit_s == min(3600.0, max(30.0, length / 4))
    assert env.bar_wait_s[timeframe] == min(300.0, max(5.0, length / 10))
    book = Book(mode="paper", timeframe=timeframe)
    for seconds, late in ((limit_s - 5.0, False), (limit_s + 1.0, True)):
        assert lateness.late_now(book, timezone.now() - timedelta(seconds=seconds)) is late
