"""Rows whose distances are not those of their timeframe are refused, whatever else is right with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.ingest_bars import at, random_bars
from tiers.contracts.errors import DataError
from tiers.ingest.bar_problems import Code
from tiers.ingest.prepare import prepare
from trading.market.bars import BarTable
from trading.market.calendars import calendar


def named(table: BarTable, timeframe: str) -> BarTable:
    return replace(table, timeframe=timeframe)


@pytest.mark.parametrize(
    ("made", "called", "apart"),
    [("1d", "1m", "1d"), ("1d", "1h", "1d"), ("1h", "5m", "1h"), ("1m", "1h", "1m"), ("1h", "1d", "1h")],
)
@pytest.mark.parametrize("drop_invalid", [True, False])
def test_a_timeframe_that_does_not_fit_is_refused_with_the_one_that_would(
    made: str, called: str, apart: str, drop_invalid: bool
):
    table = named(random_bars(14, timeframe=made, first="2024-01-03T00:00"), called)
    with pytest.raises(DataError) as caught:
        prepare(table, "24/7", source="prices.csv", drop_invalid=drop_invalid)
    assert str(caught.value) == (
        f"prices.csv must have rows {called} apart, was {apart} apart (median of 13 distances); "
        f"--timeframe {made} would fit"
    )


def test_weeks_fit_no_timeframe():
    weeks = random_bars(36, timeframe="1d", first="2024-01-03T00:00").take(np.arange(0, 36, 7))
    with pytest.raises(DataError, match=r"rows 1d apart, was 7d apart .*; none of 1m, 5m, 15m, 1h, 1d fits"):
        prepare(weeks, "24/7", source="prices.csv")


def test_nights_holidays_and_a_market_with_few_trades_are_no_other_timeframe():
    closes = calendar("XNYS").grid("1h", np.datetime64("2024-01-02", "us"), np.datetime64("2024-02-01", "us"))
    hours = random_bars(len(closes), timeframe="1h")
    prepare(replace(hours, ts=closes), "XNYS", source="prices.csv")
    rare = np.flatnonzero(np.random.default_rng(7).random(5_000) < 0.15)
    assert prepare(random_bars(5_000).take(rare), "24/7", source="prices.csv").missing_bars > 3_000


def test_a_bar_that_forms_is_left_out_with_a_word_and_one_of_later_is_refused():
    hours = random_bars(6, timeframe="1h", first="2024-03-01T01:00")
    got = prepare(hours, "24/7", source="prices.csv", not_after=at("2024-03-01T05:54"))
    assert got.batches[0].n_bars == 5
    assert [(problem.code, problem.row) for problem in got.problems] == [(Code.FORMING, 6)]
    assert (
        got.problems[0].detail == "left out, since its bar closes at 2024-03-01 06:00 UTC and it was 2024-03-01 05:54"
    )
    with pytest.raises(DataError, match=r"row 6, column ts: expected a bar closed by 2024-03-01 04:54:00 UTC"):
        prepare(hours, "24/7", source="prices.csv", not_after=at("2024-03-01T04:54"))


def test_an_aggregate_has_all_its_bars():
    got = prepare(random_bars(70).take(np.arange(70) != 31), "24/7", source="prices.csv")
    assert [(one.timeframe, one.n_bars) for one in got.batches] == [("1m", 69), ("5m", 13), ("15m", 3)]
