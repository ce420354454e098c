"""A kept window is the window that is stored, whatever has happened to the bars since it was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from unittest.mock import patch

import numpy as np
import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext

from helios.db.partitions import ensure_partitions
from helios.redis_client import connect
from tests.support.market_bars import FIELDS, make_bars, same
from tiers.contracts import Bars
from trading.enums import ActionKind
from trading.market import action_write, instruments, kept_windows, read, shared_windows
from trading.market import write as market
from trading.market.actions import Action
from trading.market.timestamps import utc
from trading.models import MarketOHLC

pytestmark = pytest.mark.django_db
NAMES = ("A", "B", "C")


@pytest.fixture(autouse=True)
def market_of_three() -> None:
    for name in NAMES:
        instruments.ensure_instrument(name, "crypto")


def only(bars: Bars, rows: slice, *symbols: str) -> Bars:
    """Some rows of some symbols."""
    columns = [bars.symbols.index(symbol) for symbol in symbols]
    part = bars.rows(rows)
    fields = {name: getattr(part, name)[:, columns] for name in FIELDS}
    return Bars(timeframe=bars.timeframe, symbols=symbols, ts=part.ts, **fields)


def as_stored(end: datetime, n_bars: int = 20) -> Bars:
    """The window as both ways give it."""
    kept = kept_windows.bar_window(NAMES, "1m", end, n_bars)
    same(kept, read.bar_window(NAMES, "1m", end, n_bars))
    return kept


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_stored_window_after_any_writes(seed: int):
    rng = np.random.default_rng(seed)
    bars = make_bars(120, *NAMES, holes=0.3, seed=seed)
    market.upsert_bars(only(bars, slice(0, 30), *NAMES), "test")
    for row in range(30, 120):
        present = [name for name in NAMES if rng.random() < 0.8]
        if present:
            market.upsert_bars(only(bars, slice(row, row + 1), *present), "test")
        if rng.random() < 0.2:  # late bars, and corrections of what is there
            first = int(rng.integers(0, row))
            late = make_bars(120, *NAMES, holes=0.3, seed=seed + int(rng.integers(2)))
            market.upsert_bars(only(late, slice(first, first + 3), str(rng.choice(NAMES))), "test")
        as_stored(utc(bars.ts[row - int(rng.random() < 0.1)]))


@pytest.mark.parametrize("write", ["corrected", "deleted", "late", "the next ones"])
def test_what_is_written_without_our_services_is_seen(write: str):
    bars = make_bars(60, *NAMES)
    market.upsert_bars(only(bars, slice(0, 40), *NAMES), "test")
    stored = MarketOHLC.objects.filter(symbol=NAMES[0], bar_ts__gte=utc(bars.ts[30]))
    later = list(stored.order_by("bar_ts").values())
    if write == "late":
        stored.filter(bar_ts=later[0]["bar_ts"]).delete()
    elif write == "the next ones":
        stored.delete()
    as_stored(utc(bars.ts[39]))
    if write == "corrected":
        stored.update(volume=0.0)
    elif write == "deleted":
        stored.delete()
    else:
        MarketOHLC.objects.bulk_create(MarketOHLC(**row) for row in (later[:1] if write == "late" else later))
    as_stored(utc(bars.ts[39]))


def test_only_what_came_since_is_read():
    bars = make_bars(60, *NAMES)
    market.upsert_bars(only(bars, slice(0, 50), *NAMES), "test")
    as_stored(utc(bars.ts[49]))
    market.upsert_bars(only(bars, slice(50, 60), *NAMES), "test")
    with CaptureQueriesContext(connection) as asked:
        kept_windows.bar_window(NAMES, "1m", utc(bars.ts[59]), 20)
    assert len(asked) == 1


def test_who_writes_into_a_window_spoils_nobody_elses():
    bars = make_bars(40, *NAMES)
    market.upsert_bars(bars, "test")
    as_stored(utc(bars.ts[39])).close[:] = 0.0
    as_stored(utc(bars.ts[39]))


def test_bars_of_what_is_no_instrument_are_never_kept():
    bars = make_bars(40, "Z")
    market.upsert_bars(bars, "test")
    for row in (20, 39):
        same(kept_windows.bar_window(("Z",), "1m", utc(bars.ts[row]), 5), bars.rows(slice(row - 4, row + 1)))


def test_it_knows_the_actions_of_its_symbols_as_soon_as_they_are_stored():
    bars = make_bars(60, *NAMES)
    market.upsert_bars(bars, "test")
    end, ex_ts = utc(bars.ts[50]), utc(bars.ts[40])
    assert kept_windows.bar_window(NAMES, "1m", end, 20).actions == ()
    made = Action(symbol="B", ex_ts=ex_ts, kind=ActionKind.SPLIT, value=Decimal(2))
    action_write.store("B", [made], "test")
    assert kept_windows.bar_window(NAMES, "1m", ex_ts, 20).actions == ()  # it has not come yet
    kept = kept_windows.bar_window(NAMES, "1m", end, 20)
    assert kept.actions == read.bar_window(NAMES, "1m", end, 20).actions
    assert [(each.symbol, each.shares, each.close_before) for each in kept.actions] == [("B", 2.0, bars.close[40, 1])]


def test_a_close_before_an_action_that_comes_late_is_known_with_it():
    bars = make_bars(60, *NAMES)
    market.upsert_bars(only(bars, slice(0, 40), *NAMES), "test")
    paid = Action(symbol="A", ex_ts=utc(bars.ts[40]), kind=ActionKind.DIVIDEND, value=Decimal(1))
    action_write.store("A", [paid], "test")
    market.upsert_bars(only(bars, slice(40, 42), "B", "C"), "test")
    for late in (False, True):
        if late:
            market.upsert_bars(only(bars, slice(40, 42), "A"), "test")
        kept = kept_windows.bar_window(NAMES, "1m", utc(bars.ts[41]), 20)
        assert kept.actions == read.bar_window(NAMES, "1m", utc(bars.ts[41]), 20).actions
        assert kept.actions[0].close_before == bars.close[40 if late else 39, 0]


# --- shared with other processes ---


def anew(end: datetime, n_bars: int = 20) -> bool:
    """Whether a process that has just started reads the whole window from the table; it is the stored one anyhow."""
    kept_windows._kept.clear()
    with patch.object(read, "plain_window", wraps=read.plain_window) as whole:
        found = kept_windows.bar_window(NAMES, "1m", end, n_bars)
    kept_windows._kept.clear()
    same(found, read.bar_window(NAMES, "1m", end, n_bars))
    return whole.called


@pytest.mark.usefixtures("clean_redis")
def test_a_process_that_starts_takes_a_shared_window_and_reads_what_came_since() -> None:
    bars = make_bars(120, *NAMES, holes=0.2, seed=5)
    market.upsert_bars(bars.rows(slice(0, 100)), source="test")
    assert anew(utc(bars.ts[99]))
    assert not anew(utc(bars.ts[99]))
    market.upsert_bars(bars.rows(slice(100, 110)), source="test")
    assert not anew(utc(bars.ts[109]))
    assert anew(utc(bars.ts[60]))  # it ends before the shared one, and is shared from now on
    assert anew(utc(bars.ts[109]))  # so long behind that one that nothing of it is left


@pytest.mark.usefixtures("clean_redis")
def test_a_shared_window_of_bars_that_were_corrected_since_is_not_believed() -> None:
    bars = make_bars(60, *NAMES, seed=6)
    market.upsert_bars(bars, source="test")
    assert anew(utc(bars.ts[59]))
    market.upsert_bars(replace(bars, volume=bars.volume + 1.0).rows(slice(50, 51)), source="test")
    assert anew(utc(bars.ts[59]))


@pytest.mark.parametrize("broken", [b"", b"abc", b"\x02\0\0\0{}", b"\xff" * 50])
def test_a_shared_window_that_cannot_be_read_is_read_from_the_table(clean_redis: redis.Redis, broken: bytes) -> None:
    bars = make_bars(60, *NAMES, seed=7)
    market.upsert_bars(bars, source="test")
    assert anew(utc(bars.ts[59]))
    (name,) = clean_redis.keys("helios:window:*")
    whole = clean_redis.get(name)
    for data in (broken, whole[:-8], whole + bytes(8)):
        clean_redis.set(name, data)
        assert anew(utc(bars.ts[59]))
    assert clean_redis.ttl(name) > 0


def of_number(whole: bytes, n: str, after: str = "") -> bytes:
    """The shared window with another number of bars in its head, and more behind that."""
    size = 4 + int.from_bytes(whole[:4], "little")
    head = whole[4:size].replace(b'"n": 20', f'"n": {n}{after}'.encode())
    return len(head).to_bytes(4, "little") + head + whole[size:]


def with_time(whole: bytes, row: int, ts: int) -> bytes:
    """The shared window with another time of one bar."""
    place = 4 + int.from_bytes(whole[:4], "little") + 8 * row
    return whole[:place] + ts.to_bytes(8, "little", signed=True) + whole[place + 8 :]


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda whole: of_number(whole, "1e999"),
        lambda whole: of_number(whole, "20", f', "x": {"[" * 100_000}{"]" * 100_000}'),
        lambda whole: with_time(whole, 19, -(2**63)),
        lambda whole: with_time(whole, 0, 2**62),
        lambda whole: with_time(whole, 19, 2**62),
        lambda whole: whole[:-8] + np.array([np.inf]).tobytes(),
    ],
)
def test_a_shared_window_that_was_made_to_hurt_is_read_from_the_table(
    clean_redis: redis.Redis, spoiled: Callable[[bytes], bytes]
) -> None:
    """Nobody but who writes it renews one with the tokens of the bars as they are: each cycle would fail on it."""
    bars = make_bars(60, *NAMES, seed=7)
    market.upsert_bars(bars, source="test")
    assert anew(utc(bars.ts[59]))
    (name,) = clean_redis.keys("helios:window:*")
    data = spoiled(clean_redis.get(name))
    clean_redis.set(name, data)
    assert anew(utc(bars.ts[59]))
    assert clean_redis.get(name) != data


def test_without_valkey_every_process_reads_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = make_bars(60, *NAMES, seed=8)
    market.upsert_bars(bars, source="test")
    away = connect("redis://127.0.0.1:1/0", timeout_s=0.5)
    monkeypatch.setattr(shared_windows, "_client", lambda _: away)
    assert anew(utc(bars.ts[59]))


def test_bars_that_follow_are_looked_up_in_a_session_that_began_with_an_empty_table():
    names = tuple(f"S{n}" for n in range(50))
    bars = make_bars(8, *names, first="1971-03-01T00:01")
    ensure_partitions("market_ohlc", "year", utc(bars.ts[0]), utc(bars.ts[-1]))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE market_ohlc_y1971")
        for row in range(bars.n_bars):
            market.upsert_bars(bars.rows(slice(row, row + 1)), "test")
        cursor.execute("SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'market_ohlc_y1971'")
        (n_read,) = cursor.fetchone()
    assert n_read < 10 * bars.n_bars * len(names)  # each symbol's question would read the whole table
