from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from tests.support.ingest_bars import at, random_bars
from tiers import ingest
from tiers.contracts.errors import DataError
from tiers.ingest.aggregate import aggregate, targets
from tiers.ingest.bar_problems import Code
from trading import sample_data
from trading.market.bars import FIELDS, BarTable, bar_table, split, union
from trading.market.calendars import calendar
from trading.market.feeds.files import table_from_frame
from trading.market.timestamps import stamp, utc


def window(whole: BarTable, bar_ts: datetime, *, after: datetime | None = None) -> BarTable:
    """What a live cycle loads: the bars after `window_start` and not later than the bar."""
    start = after or ingest.window_start(whole.timeframe, bar_ts)
    return whole.take(np.asarray((whole.ts > stamp(start)) & (whole.ts <= stamp(bar_ts))))


def test_the_window_begins_where_the_longest_running_bar_began():
    assert ingest.window_start("1m", at("2024-03-01T10:07")) == at("2024-03-01T10:00")
    assert ingest.window_start("1m", at("2024-03-01T11:00")) == at("2024-03-01T10:00")
    assert ingest.window_start("15m", at("2024-03-01T10:15")) == at("2024-03-01T10:00")
    assert ingest.window_start("1d", at("2024-03-01T21:00")) == at("2024-03-01T09:00")


def test_a_quiet_minute_brings_one_bar_and_no_higher_one():
    got = ingest.run([window(random_bars(90), at("2024-03-01T00:07"))], timeframe="1m", bar_ts=at("2024-03-01T00:07"))
    assert [utc(ts) for ts in got.accepted.ts] == [at("2024-03-01T00:07")]
    assert (got.higher, got.problems, got.missing) == ((), (), ())


def test_the_full_hour_closes_every_higher_bar():
    bar_ts = at("2024-03-01T01:00")
    got = ingest.run([window(random_bars(90), bar_ts)], timeframe="1m", bar_ts=bar_ts)
    assert [(bars.timeframe, bars.n_bars, utc(bars.ts[0])) for bars in got.higher] == [
        ("5m", 1, bar_ts),
        ("15m", 1, bar_ts),
        ("1h", 1, bar_ts),
    ]


def test_cycle_by_cycle_the_live_bars_are_the_batch_bars():
    tables = [random_bars(185, symbol="A", seed=1), random_bars(185, symbol="B", seed=2)]
    live: dict[str, list[tuple[object, ...]]] = {name: [] for name in targets("1m")}
    for minute in range(185):
        bar_ts = at("2024-03-01T00:01") + timedelta(minutes=minute)
        got = ingest.run([window(one, bar_ts) for one in tables], timeframe="1m", bar_ts=bar_ts)
        assert got.accepted.n_bars == 1
        for bars in got.higher:
            live[bars.timeframe].append((bars.ts[0], *(getattr(bars, name)[0].tolist() for name in FIELDS)))
    until = at("2024-03-01T03:05")
    for name, rows in live.items():
        batch = union([aggregate(one, name, calendar("24/7"), until=until).table for one in tables], name)
        expected = [(batch.ts[k], *(getattr(batch, f)[k].tolist() for f in FIELDS)) for k in range(batch.n_bars)]
        assert rows == expected


def test_after_a_pause_every_bar_since_then_is_taken_in():
    since, bar_ts = at("2024-03-01T00:58"), at("2024-03-01T01:06")
    rows = window(random_bars(90), bar_ts, after=ingest.window_start("1m", since))
    got = ingest.run([rows], timeframe="1m", bar_ts=bar_ts, since=since)
    assert got.accepted.n_bars == 8
    assert [(bars.timeframe, [str(ts)[11:16] for ts in bars.ts]) for bars in got.higher] == [
        ("5m", ["01:00", "01:05"]),
        ("15m", ["01:00"]),
        ("1h", ["01:00"]),
    ]


def test_a_symbol_without_its_bar_is_missing_and_told():
    bar_ts = at("2024-03-01T00:07")
    tables = [
        window(random_bars(90, symbol="A"), bar_ts),
        random_bars(6, symbol="B"),
        random_bars(0, symbol="C"),
    ]
    got = ingest.run(tables, timeframe="1m", bar_ts=bar_ts)
    assert got.missing == ("B", "C")
    assert got.accepted.symbols == ("A", "B", "C")
    assert [(problem.code, problem.symbol, problem.bar_ts) for problem in got.problems] == [
        (Code.GAP, "B", bar_ts),
        (Code.GAP, "C", bar_ts),
    ]


def test_when_no_symbol_has_the_bar_all_are_missing():
    got = ingest.run([random_bars(3, symbol="A")], timeframe="1m", bar_ts=at("2024-03-01T00:07"))
    assert (got.missing, got.accepted.n_bars) == (("A",), 0)


def test_a_closed_market_misses_nothing():
    saturday = at("2024-03-02T15:00")
    got = ingest.run([random_bars(0, symbol="SPY")], timeframe="1m", bar_ts=saturday, calendars={"SPY": "XNYS"})
    assert got.problems == ()


def test_bars_of_the_future_have_no_influence():
    bar_ts = at("2024-03-01T00:10")
    known = ingest.run([random_bars(60).take(slice(0, 10))], timeframe="1m", bar_ts=bar_ts)
    leaking = ingest.run([random_bars(60)], timeframe="1m", bar_ts=bar_ts)
    assert {problem.code for problem in leaking.problems} == {Code.FUTURE}
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(known.accepted, name), getattr(leaking.accepted, name))
        np.testing.assert_array_equal(getattr(known.higher[0], name), getattr(leaking.higher[0], name))


def test_a_broken_bar_is_not_accepted_and_makes_no_higher_bar():
    whole = random_bars(5)
    broken = bar_table("X", "1m", whole.ts, [whole.open, whole.high, whole.low, -whole.close, whole.volume])
    mixed = bar_table(
        "X",
        "1m",
        whole.ts,
        [np.where(np.arange(5) == 4, getattr(broken, name), getattr(whole, name)) for name in FIELDS],
    )
    got = ingest.run([mixed], timeframe="1m", bar_ts=at("2024-03-01T00:05"))
    assert [problem.code for problem in got.problems] == [Code.NOT_POSITIVE, Code.GAP, Code.INCOMPLETE]
    assert (got.missing, got.accepted.n_bars) == (("X",), 0)
    assert got.higher == ()


def test_a_daily_bar_needs_no_other_bar():
    frame = sample_data.load("AAPL", "1d")
    for row in (
        4,
        5,
        6,
    ):
        bar_ts = frame["ts"][row]
        one = table_from_frame("AAPL", "1d", frame[row : row + 1])
        got = ingest.run([one], timeframe="1d", bar_ts=bar_ts, calendars={"AAPL": "XNYS"})
        assert (got.accepted.n_bars, got.higher, got.problems) == (1, (), ())


def test_no_day_of_thirteen_years_is_told_to_miss_a_bar():
    frame = sample_data.load("IBM", "1d")
    whole = table_from_frame("IBM", "1d", frame)
    for row in range(0, whole.n_rows, 5):
        got = ingest.run(
            [whole.take(slice(row, row + 1))],
            timeframe="1d",
            bar_ts=utc(whole.ts[row]),
            calendars={"IBM": "XNYS"},
        )
        assert got.problems == ()


def test_a_table_of_another_timeframe_is_refused():
    with pytest.raises(DataError, match="bars of X must be 1m, were 5m"):
        ingest.run([random_bars(3, timeframe="5m")], timeframe="1m", bar_ts=at("2024-03-01T00:03"))


def test_splitting_undoes_the_union():
    tables = [random_bars(9, symbol="A"), random_bars(4, symbol="B", first="2024-03-01T00:07")]
    back = split(union(tables, "1m"))
    for one, other in zip(tables, back, strict=True):
        for name in ("ts", *FIELDS):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_union_of_nothing_is_empty():
    assert union([], "1m").n_bars == 0


def test_fields_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"volume must be \(n_rows,\) = \(2,\), was \(3,\)"):
        bar_table("X", "1m", random_bars(2).ts, [np.ones(2)] * 4 + [np.ones(3)])


def test_the_stage_has_a_version():
    assert ingest.VERSION == "1.0.0"
