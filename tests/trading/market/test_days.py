"""Which days bars belong to, where days are asked for and where they are shown."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from helios.errors import DataError
from tests.trading.market.test_data_commands import HEADER, run
from trading.market.days import day_of, parse_range

JANUARY = [date(2024, 1, day) for day in range(1, 32)]


@pytest.mark.parametrize(
    ("close", "day"),
    [
        (datetime(2024, 1, 10, 21, tzinfo=UTC), date(2024, 1, 10)),
        (datetime(2024, 1, 11, tzinfo=UTC), date(2024, 1, 10)),
        (datetime(2024, 1, 11, 0, 1, tzinfo=UTC), date(2024, 1, 11)),
        (datetime(2024, 1, 11, 2, tzinfo=timezone(timedelta(hours=2))), date(2024, 1, 10)),
    ],
)
def test_the_midnight_that_ends_a_day_belongs_to_it(close: datetime, day: date) -> None:
    assert day_of(close) == day


def test_ranges_of_days_that_follow_each_other_share_no_close_and_miss_none() -> None:
    _, first_ends = parse_range("-20240131")
    second_begins, _ = parse_range("20240201-")
    assert first_ends == datetime(2024, 2, 1, tzinfo=UTC)
    assert second_begins - first_ends == timedelta(microseconds=1)
    assert parse_range("20240201-20240229")[1] == datetime(2024, 3, 1, tzinfo=UTC)
    assert parse_range(None) == parse_range("-") == (None, None)


@pytest.mark.parametrize("text", ["20240102", "20240101-20240102-", "2024-2025", "٢٠٢٤٠١٠١-", "20240230-", "-99991231"])
def test_what_is_no_range_of_days_is_told(text: str) -> None:
    with pytest.raises(DataError, match="--timerange must"):
        parse_range(text)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("symbol", "days", "begins", "ends"),
    [
        ("BTC-USD", JANUARY, "2024-01-11T00:00:00+00:00", "2024-01-20T00:00:00+00:00"),
        (
            "ACME",
            [day for day in JANUARY if day.weekday() < 5 and day.day not in {1, 15}],
            "2024-01-10T21",
            "2024-01-19T21",
        ),
    ],
)
def test_a_backtest_of_a_range_of_days_has_the_bars_of_these_days(tmp_path, symbol, days, begins, ends) -> None:
    path = tmp_path / "days.csv"
    path.write_text(HEADER + "".join(f"{day},10,99,9,{10 + day.day},1\n" for day in days))
    run("import_data", path, "--symbol", symbol, "--timeframe", "1d")
    words = ("backtest", "--strategy", "buy_and_hold", "--symbols", symbol, "--timerange", "20240110-20240119")
    got = json.loads(run(*words, "--json"))
    assert (got["start"][: len(begins)], got["end"][: len(ends)]) == (begins, ends)
    assert got["n_bars"] == sum(10 <= day.day <= 19 for day in days)
    assert "1d bars, 2024-01-10 to 2024-01-19" in run(*words)
