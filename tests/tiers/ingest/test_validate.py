from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ingest_bars import at, bars, needs, random_bars
from tiers.ingest.bar_problems import Code
from tiers.ingest.validate import nothing_to_tell, validate
from trading import sample_data
from trading.market.bars import FIELDS, bar_table
from trading.market.calendars import calendar
from trading.market.feeds.files import FileSource, table_from_frame
from trading.market.timestamps import stamp, utc

ALWAYS, US = calendar("24/7"), calendar("XNYS")
GOOD = (10.0, 12.0, 9.0, 11.0, 5.0)


def codes(problems) -> list[str]:
    return [problem.code.value for problem in problems]


def test_clean_bars_pass_unchanged():
    given_bars = random_bars(50)
    got = validate(given_bars, ALWAYS)
    assert got.table is not None
    assert got.problems == ()
    for name in ("ts", *FIELDS):
        np.testing.assert_array_equal(getattr(got.table, name), getattr(given_bars, name))


@pytest.mark.parametrize(
    ("row", "code", "column", "detail"),
    [
        ((math.nan, 12, 9, 11, 5), Code.NOT_FINITE, "open", "expected a finite price, was nan"),
        ((10, math.inf, 9, 11, 5), Code.NOT_FINITE, "high", "expected a finite price, was inf"),
        ((10, 12, 0, 11, 5), Code.NOT_POSITIVE, "low", "expected a price above 0, was 0.0"),
        ((10, 12, 9, -11, 5), Code.NOT_POSITIVE, "close", "expected a price above 0, was -11.0"),
        (
            (10, 10.5, 9, 11, 5),
            Code.PRICE_ORDER,
            "high",
            "expected the highest price of its bar, was 10.5 beside 11.0",
        ),
        (
            (10, 12, 10.5, 11, 5),
            Code.PRICE_ORDER,
            "low",
            "expected the lowest price of its bar, was 10.5 beside 10.0",
        ),
        ((10, 12, 9, 11, math.nan), Code.NOT_FINITE, "volume", "expected a finite number, was nan"),
        ((10, 12, 9, 11, -1), Code.NEGATIVE_VOLUME, "volume", "expected a volume of at least 0, was -1.0"),
    ],
)
def test_a_bar_that_breaks_a_rule_is_left_out_and_named(row, code: Code, column: str, detail: str):
    got = validate(bars(("2024-01-01T00:01", *GOOD), ("2024-01-01T00:02", *row)), ALWAYS)
    (problem,) = got.rejected
    assert (problem.code, problem.row, problem.column, problem.detail) == (code, 2, column, detail)
    assert problem.bar_ts == at("2024-01-01T00:02")
    assert got.table.n_rows == 1


def test_a_bar_with_several_faults_is_told_once():
    got = validate(bars(("2024-01-01T00:01:30", -1, math.nan, 5, 0, -3)), ALWAYS)
    assert codes(got.problems) == ["OFF_GRID"]
    assert got.table.n_rows == 0


def test_a_time_off_the_grid_is_refused():
    got = validate(bars(("2024-01-01T00:01:30", *GOOD)), ALWAYS)
    assert str(got.problems[0]) == (
        "X row 1, column ts: expected a multiple of 1m on the UTC clock, was 2024-01-01 00:01:30 UTC"
    )


def test_a_row_without_a_time_is_refused():
    empty = bars(("NaT", *GOOD))
    got = validate(empty, ALWAYS)
    assert (codes(got.problems), got.problems[0].bar_ts) == (["BAD_TIME"], None)


def test_bars_outside_the_session_are_refused():
    got = validate(bars(("2018-01-02T21:00", *GOOD), ("2018-01-02T21:01", *GOOD)), US)
    assert [(problem.code, problem.row) for problem in got.problems] == [(Code.OUTSIDE_SESSION, 2)]
    assert "expected the close of a 1m bar of calendar XNYS" in got.problems[0].detail


def test_a_daily_us_bar_must_be_named_by_the_sessions_close():
    named, midnight = ("2018-01-02T21:00", *GOOD), ("2018-01-03T00:00", *GOOD)
    assert validate(bars(named, timeframe="1d"), US).problems == ()
    assert codes(validate(bars(midnight, timeframe="1d"), US).problems) == ["OUTSIDE_SESSION"]
    assert validate(bars(midnight, timeframe="1d"), ALWAYS).problems == ()


def test_bars_of_the_future_are_refused():
    got = validate(random_bars(3), ALWAYS, not_after=at("2024-03-01T00:02"))
    assert codes(got.rejected) == ["FUTURE"]
    assert utc(got.table.ts[-1]) == at("2024-03-01T00:02")


@pytest.mark.parametrize(
    ("year", "sentence"),
    [
        ("1024", "expected a time since 1900, was 1024-01-01 00:03:00 UTC"),
        ("1904", "expected a time less than 10 years from most rows, was 1904-01-01 00:03:00 UTC"),
        ("2204", "expected a time less than 10 years from most rows, was 2204-01-01 00:03:00 UTC"),
        ("9024", "expected a time less than 10 years from most rows, was 9024-01-01 00:03:00 UTC"),
    ],
)
@pytest.mark.parametrize("hours", [ALWAYS, US])
def test_a_mistyped_year_is_named_and_no_calendar_is_laid_out_up_to_it(hours, year: str, sentence: str):
    times = ["2024-01-02T15:01", "2024-01-02T15:02", f"{year}-01-01T00:03", "2024-01-02T15:04"]
    got = validate(bars(*((time, *GOOD) for time in times)), hours)
    assert [(problem.row, problem.detail) for problem in got.rejected] == [(3, sentence)]
    assert [problem.missing_bars for problem in got.problems if problem.code is Code.GAP] == [1]


def test_an_equal_repetition_is_told_and_costs_nothing():
    got = validate(bars(("2024-01-01T00:01", *GOOD), ("2024-01-01T00:01", *GOOD)), ALWAYS)
    assert codes(got.problems) == ["DUPLICATE"]
    assert (got.rejected, got.table.n_rows) == ((), 1)


def test_of_two_bars_of_one_time_the_later_row_wins():
    late = (10.0, 12.0, 9.0, 11.5, 6.0)
    got = validate(bars(("2024-01-01T00:01", *GOOD), ("2024-01-01T00:01", *late)), ALWAYS)
    assert codes(got.rejected) == ["CONFLICT"]
    assert got.rejected[0].detail == (
        "expected each time once, was 2024-01-01 00:01:00 UTC again in row 2 with other values"
    )
    assert got.table.close.tolist() == [11.5]


def test_a_broken_repetition_does_not_replace_a_good_bar():
    broken = (10.0, 12.0, 9.0, -1.0, 6.0)
    got = validate(bars(("2024-01-01T00:01", *GOOD), ("2024-01-01T00:01", *broken)), ALWAYS)
    assert codes(got.problems) == ["NOT_POSITIVE"]
    assert got.table.close.tolist() == [11.0]


def test_late_rows_are_put_in_order_and_told():
    times = ("2024-01-01T00:01", "2024-01-01T00:03", "2024-01-01T00:02", "2024-01-01T00:04")
    got = validate(bars(*((time, *GOOD) for time in times)), ALWAYS)
    assert [(problem.code, problem.row) for problem in got.problems] == [(Code.OUT_OF_ORDER, 3)]
    assert [str(ts)[14:16] for ts in got.table.ts] == ["01", "02", "03", "04"]
    assert got.table.row.tolist() == [1, 3, 2, 4]


def test_a_file_in_falling_order_is_one_problem_of_many_rows():
    (told,) = validate(random_bars(9).take(np.arange(9)[::-1]), ALWAYS).problems
    assert (told.code, told.row, told.n_rows) == (Code.OUT_OF_ORDER, 8, 8)
    assert told.detail.endswith("rising order, was 2024-03-01 00:08:00 UTC behind a later one; 8 rows are so")


def test_each_run_of_missing_bars_is_one_gap():
    got = validate(random_bars(10).take(np.array([0, 1, 4, 5, 7, 8, 9])), ALWAYS)
    assert codes(got.problems) == ["GAP", "GAP"]
    assert [problem.missing_bars for problem in got.problems] == [2, 1]
    assert [problem.detail for problem in got.problems] == [
        "2 bars are missing at 2024-03-01 00:03 .. 2024-03-01 00:04 UTC",
        "1 bar is missing at 2024-03-01 00:07 UTC",
    ]


def test_a_refused_bar_leaves_a_gap():
    broken = (10.0, 12.0, 9.0, -1.0, 6.0)
    times = ("2024-01-01T00:01", "2024-01-01T00:02", "2024-01-01T00:03")
    got = validate(bars(*zip(times, *zip(GOOD, broken, GOOD, strict=True), strict=True)), ALWAYS)
    assert codes(got.problems) == ["NOT_POSITIVE", "GAP"]


def test_nights_and_weekends_are_no_gaps():
    friday, monday = ("2018-01-05T21:00", *GOOD), ("2018-01-08T14:31", *GOOD)
    assert validate(bars(friday, monday), US).problems == ()
    assert codes(validate(bars(friday, monday), ALWAYS).problems) == ["GAP"]


def test_gaps_are_looked_for_over_the_expected_span():
    span = (at("2024-03-01T00:00"), at("2024-03-01T00:05"))
    got = validate(random_bars(3), ALWAYS, expected=span)
    assert [(problem.code, problem.missing_bars) for problem in got.problems] == [(Code.GAP, 2)]
    nothing = validate(random_bars(0), ALWAYS, expected=span)
    assert [problem.missing_bars for problem in nothing.problems] == [5]
    assert validate(random_bars(0), ALWAYS).problems == ()


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60))
def test_a_shuffled_damaged_series_comes_out_as_its_good_rows_in_order(seed: int, n: int):
    rng = np.random.default_rng(seed)
    whole = random_bars(n, seed=seed)
    rows = rng.integers(0, n, 2 * n)  # repeated, missing and out of order
    dirty = whole.take(rows)
    broken = rng.random(2 * n) < 0.2
    dirty = bar_table(
        "X", "1m", dirty.ts, [np.where(broken, -1.0, dirty.open), *(getattr(dirty, k) for k in FIELDS[1:])]
    )
    got = validate(dirty, ALWAYS)
    good = np.unique(rows[~broken])
    for name in ("ts", *FIELDS):
        np.testing.assert_array_equal(getattr(got.table, name), getattr(whole.take(good), name))
    missing = sum(problem.missing_bars for problem in got.problems if problem.code is Code.GAP)
    assert missing == (good[-1] - good[0] + 1 - len(good) if len(good) else 0)
    assert len(got.rejected) == broken.sum()
    told = sum(problem.code is Code.DUPLICATE for problem in got.problems)
    assert told == (~broken).sum() - len(good)


def test_times_convert_both_ways_without_loss():
    for text in ("1969-12-31T23:59:59.999999", "2024-03-01T00:01", "2262-01-01T00:00:00.000001"):
        assert utc(stamp(at(text))) == at(text)


@pytest.mark.parametrize("dataset", sample_data.catalogue(), ids=lambda one: f"{one.symbol} {one.timeframe}")
def test_the_bundled_data_has_no_fault_but_the_gaps_that_its_readme_tells(dataset: sample_data.Dataset):
    frame = sample_data.load(dataset.symbol, dataset.timeframe)
    got = validate(table_from_frame(dataset.symbol, dataset.timeframe, frame), calendar(dataset.calendar))
    assert got.table.n_rows == dataset.rows
    assert {problem.code for problem in got.problems} <= {Code.GAP}
    missing = sum(problem.missing_bars for problem in got.problems)
    assert missing == {"SPY": 2, "BTC/USD": 28}.get(dataset.symbol, 0)


def test_eight_years_of_binance_hours_show_the_exchanges_outages():
    source = FileSource(
        path=needs("crypto", "binance_spot_long", "BTC_USDT-1h.feather"),
        symbol="BTC",
        timeframe="1h",
        times="open",
    )
    got = validate(source.read(), ALWAYS)
    gaps = [problem for problem in got.problems if problem.code is Code.GAP]
    hours = (got.table.ts[-1] - got.table.ts[0]) // np.timedelta64(1, "h") + 1
    assert len(gaps) > 0
    assert sum(problem.missing_bars for problem in gaps) == hours - got.table.n_rows
    outage = at("2018-02-08T02:00")  # Binance stood still for more than a day
    assert any(problem.bar_ts == outage and problem.missing_bars > 24 for problem in gaps)


def test_bybit_minutes_from_a_compressed_csv_are_clean():
    path = needs("crypto", "bybit_linear", "ADAUSDT_1m.csv.gz")
    got = validate(FileSource(path=path, symbol="ADA", timeframe="1m", times="open").read(), ALWAYS)
    assert got.table.n_rows > 10_000
    assert got.rejected == ()


@given(seed=st.integers(0, 2**32 - 1))
def test_tables_that_are_asked_together_are_clean_where_each_is_clean(seed: int):
    rng = np.random.default_rng(seed)
    expected = at("2024-03-01T00:02"), at("2024-03-01T00:08")
    tables = [random_bars(8, symbol=symbol, seed=seed) for symbol in "ABC"]
    for _ in range(rng.integers(0, 3)):
        damaged = tables[place := rng.integers(0, 3)]
        row, column = int(rng.integers(0, damaged.n_rows)), str(rng.choice(["ts", *FIELDS]))
        if rng.random() < 0.5:  # a row is lost, at one time twice, or out of order; one before the window is no matter
            rows = np.delete(np.arange(8), row) if rng.random() < 0.5 else rng.integers(0, 8, 8)
            damaged = damaged.take(rows[rows < damaged.n_rows])
        elif column == "ts":
            damaged.ts[row] += rng.choice([np.timedelta64(30, "s"), np.timedelta64(20, "m"), np.timedelta64("NaT")])
        else:
            getattr(damaged, column)[row] = rng.choice([math.nan, -1.0, 1e6, damaged.open[row]])
        tables[place] = damaged
    apart = [validate(one, ALWAYS, expected=expected, not_after=expected[1]) for one in tables]
    clean = all(not got.problems for got in apart)
    assert nothing_to_tell(tables, ALWAYS, expected=expected, not_after=expected[1]) is clean
    assert not clean or all(got.table is one for got, one in zip(apart, tables, strict=True))
