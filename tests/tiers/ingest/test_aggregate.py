from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ingest_bars import at, bars, needs, random_bars
from tiers.ingest.aggregate import aggregate, bucket_close, targets
from tiers.ingest.validate import validate
from trading import sample_data
from trading.market.bars import FIELDS, BarTable
from trading.market.calendars import calendar
from trading.market.feeds.files import FileSource, table_from_frame
from trading.market.timestamps import utc

ALWAYS, US = calendar("24/7"), calendar("XNYS")
MINUTES = {"5m": 5, "15m": 15, "1h": 60}


def plain(table: BarTable, target: str, until: np.datetime64) -> list[tuple[object, ...]]:
    """The slow twin: one bucket after the other, one bar after the other."""
    length = MINUTES[target] * 60 * 1_000_000
    buckets: dict[int, list[int]] = {}
    for row in range(table.n_rows):
        buckets.setdefault(-(-int(table.ts[row].astype(np.int64)) // length), []).append(row)
    out: list[tuple[object, ...]] = []
    for number, rows in sorted(buckets.items()):
        close = np.datetime64(number * length, "us")
        if close <= until:
            high, low = max(table.high[row] for row in rows), min(table.low[row] for row in rows)
            volume = sum(table.volume[row] for row in rows)
            out.append((close, table.open[rows[0]], high, low, table.close[rows[-1]], volume, len(rows)))
    return out


def as_rows(table: BarTable, seen: np.ndarray) -> list[tuple[object, ...]]:
    return list(zip(table.ts, *(getattr(table, name) for name in FIELDS), seen, strict=True))


@given(
    n=st.integers(0, 200),
    keep=st.floats(0.2, 1),
    start=st.integers(0, 90),
    cut=st.integers(0, 260),
    target=st.sampled_from(["5m", "15m", "1h"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_aggregation_equals_the_plain_twin(*, n: int, keep: float, start: int, cut: int, target: str, seed: int):
    first = np.datetime64("2024-03-01T00:01", "us") + np.timedelta64(start, "m")
    whole = random_bars(n, first=str(first), seed=seed)
    table = whole.take(np.random.default_rng(seed).random(n) < keep)
    until = np.datetime64("2024-03-01T00:00", "us") + np.timedelta64(cut, "m")
    got = aggregate(table, target, ALWAYS, until=utc(until))
    assert as_rows(got.table, got.seen) == plain(table, target, until)
    assert np.all(got.due == MINUTES[target])


@given(shock=st.floats(0.5, 2), cut=st.integers(1, 179), target=st.sampled_from(["5m", "15m", "1h"]))
def test_shocking_the_future_changes_no_closed_bar(shock: float, cut: int, target: str):
    calm = random_bars(180)
    factor = np.where(np.arange(180) < cut, 1.0, shock)
    shocked = BarTable(
        symbol="X",
        timeframe="1m",
        ts=calm.ts,
        row=calm.row,
        **{name: getattr(calm, name) * factor for name in FIELDS},
    )
    until = utc(calm.ts[cut - 1])
    before, after = (aggregate(table, target, ALWAYS, until=until) for table in (calm, shocked))
    assert as_rows(before.table, before.seen) == as_rows(after.table, after.seen)


def test_a_bucket_that_still_runs_is_not_emitted():
    table = random_bars(14)
    assert aggregate(table, "15m", ALWAYS, until=at("2024-03-01T00:14")).table.n_rows == 0
    assert aggregate(random_bars(15), "15m", ALWAYS, until=at("2024-03-01T00:15")).table.n_rows == 1


def test_a_closed_bucket_with_a_missing_minute_is_left_out_and_told():
    table = random_bars(10).take(np.arange(10) != 2)
    got = aggregate(table, "5m", ALWAYS, until=at("2024-03-01T00:10"))
    assert got.complete.tolist() == [False, True]
    (problem,) = got.problems()
    assert problem.missing_bars == 1
    assert not problem.rejects
    assert str(problem) == "X: the 5m bar of 2024-03-01 00:05 UTC was left out: 4 of its 5 bars are there"
    assert [str(ts)[11:16] for ts in got.whole.ts] == ["00:10"]


def test_only_buckets_after_since_are_emitted():
    got = aggregate(random_bars(20), "5m", ALWAYS, until=at("2024-03-01T00:20"), since=at("2024-03-01T00:10"))
    assert [str(ts)[11:16] for ts in got.table.ts] == ["00:15", "00:20"]


def test_aggregating_in_two_steps_equals_one_step():
    table = random_bars(600)
    until = at("2024-03-01T10:00")
    five = aggregate(table, "5m", ALWAYS, until=until).table
    for target in ("15m", "1h"):
        direct, by_five = (aggregate(base, target, ALWAYS, until=until).table for base in (table, five))
        for name in FIELDS:
            np.testing.assert_allclose(getattr(direct, name), getattr(by_five, name), rtol=1e-12)


def test_a_live_window_gives_the_very_bars_of_the_batch():
    table = random_bars(480, seed=3)
    batch = aggregate(table, "15m", ALWAYS, until=at("2024-03-01T08:00")).table
    for number in range(batch.n_rows):
        window = table.take(slice(number * 15 // 60 * 60, (number + 1) * 15))
        live = aggregate(window, "15m", ALWAYS, until=utc(batch.ts[number])).table
        assert [getattr(live, name)[-1] for name in FIELDS] == [getattr(batch, name)[number] for name in FIELDS]


def test_a_session_knows_how_many_minutes_its_first_hour_and_a_half_day_have():
    closes = US.grid("1m", np.datetime64("2018-12-24", "us"), np.datetime64("2018-12-25", "us"))
    half_day = random_bars(len(closes), first=str(closes[0]))
    got = aggregate(half_day, "1h", US, until=at("2018-12-25T00:00"))
    assert got.due.tolist() == [30, 60, 60, 60]
    assert got.complete.all()


def test_the_sample_year_of_spy_aggregates_to_complete_bars_but_for_the_two_rows_that_were_dropped():
    frame = sample_data.load("SPY", "1m")
    table = table_from_frame("SPY", "1m", frame)
    got = aggregate(table, "5m", US, until=at("2019-01-01T00:00"))
    assert got.table.n_rows == 248 * 78 + 3 * 42
    assert [str(ts)[:16] for ts in got.table.ts[~got.complete]] == ["2018-05-10T18:40", "2018-05-10T19:00"]
    assert got.table.volume.sum() == frame["volume"].sum()


def test_bars_are_aggregated_to_longer_ones_within_a_day():
    assert [targets(name) for name in ("1m", "15m", "1d")] == [("5m", "15m", "1h"), ("1h",), ()]


def test_a_close_on_the_boundary_belongs_to_the_bucket_that_ends_there():
    got = bucket_close(bars(("2024-01-01T00:05", 1, 1, 1, 1, 1), ("2024-01-01T00:06", 1, 1, 1, 1, 1)).ts, "5m")
    assert [str(ts)[14:16] for ts in got] == ["05", "10"]


@pytest.mark.parametrize("pair", ["BTC_USDT", "ETH_USDT"])
@pytest.mark.parametrize("target", ["5m", "15m"])
def test_ninety_days_of_binance_minutes_give_the_exchanges_own_higher_bars(pair: str, target: str):
    base = FileSource(
        path=needs("crypto", "binance_spot", f"{pair}-1m.feather"), symbol=pair, timeframe="1m", times="open"
    ).read()
    theirs = FileSource(
        path=needs("crypto", "binance_spot", f"{pair}-{target}.feather"),
        symbol=pair,
        timeframe=target,
        times="open",
    ).read()
    clean = validate(base, ALWAYS).table
    ours = aggregate(clean, target, ALWAYS, until=utc(clean.ts[-1])).table
    both = np.intersect1d(ours.ts, theirs.ts)
    assert len(both) >= ours.n_rows - 1
    mine, other = ours.take(np.isin(ours.ts, both)), theirs.take(np.isin(theirs.ts, both))
    for name in FIELDS[:4]:
        np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))
    np.testing.assert_allclose(mine.volume, other.volume, rtol=1e-9)


def test_polars_groups_the_sample_hours_the_same_way():
    frame = sample_data.load("SPY", "1m").head(3_900)
    table = table_from_frame("SPY", "1m", frame)
    got = aggregate(table, "1h", US, until=at("2019-01-01T00:00")).table
    grouped = frame.group_by_dynamic("ts", every="1h", closed="right", label="right").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(got, name), grouped[name].to_numpy())
