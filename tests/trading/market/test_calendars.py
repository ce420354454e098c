from __future__ import annotations

import subprocess
import sys
import zipfile
from datetime import date

import numpy as np
import polars as pl
import pytest

from helios.errors import DataError
from tests.support.ingest_bars import at, needs
from trading.market.calendars import NEW_YORK, calendar
from trading.market.timestamps import utc, utc_times


def grid(name: str, timeframe: str, after: str, last: str) -> list[str]:
    closes = calendar(name).grid(timeframe, np.datetime64(after, "us"), np.datetime64(last, "us"))
    return [str(close)[:16] for close in closes]


def half_days(year: int) -> set[date]:
    """The days of a year with fewer hours than others: 13:00 is the last bar of theirs in New York."""
    closes = [moment.astimezone(NEW_YORK) for moment in utc_times(calendar("XNYS").grid("1h", *edges(year)))]
    return {moment.date() for moment in closes} - {moment.date() for moment in closes if moment.hour > 13}


def edges(year: int) -> tuple[np.datetime64, np.datetime64]:
    return np.datetime64(f"{year}-01-01", "us"), np.datetime64(f"{year + 1}-01-01", "us")


def test_crypto_trades_around_the_clock():
    assert grid("24/7", "1h", "2024-03-09T22:00", "2024-03-10T01:00") == [
        "2024-03-09T23:00",
        "2024-03-10T00:00",
        "2024-03-10T01:00",
    ]


def test_the_grid_excludes_its_start_and_includes_its_end():
    assert grid("24/7", "5m", "2024-01-01T00:04", "2024-01-01T00:05") == ["2024-01-01T00:05"]
    assert grid("24/7", "5m", "2024-01-01T00:05", "2024-01-01T00:09") == []
    assert grid("24/7", "5m", "2024-01-01T00:05", "2024-01-01T00:05") == []


def test_a_us_session_has_390_minutes_between_half_past_nine_and_four():
    closes = grid("XNYS", "1m", "2024-01-17T00:00", "2024-01-18T00:00")
    assert (len(closes), closes[0], closes[-1]) == (390, "2024-01-17T14:31", "2024-01-17T21:00")


def test_the_first_hour_of_a_us_session_is_half_a_bar_on_the_clock():
    assert grid("XNYS", "1h", "2024-01-17T00:00", "2024-01-18T00:00") == [
        f"2024-01-17T{hour}:00" for hour in range(15, 22)
    ]


def test_summer_time_moves_the_session_in_utc():
    winter = grid("XNYS", "1d", "2024-03-08T00:00", "2024-03-09T00:00")
    summer = grid("XNYS", "1d", "2024-03-11T00:00", "2024-03-12T00:00")
    assert (winter, summer) == (["2024-03-08T21:00"], ["2024-03-11T20:00"])


def test_a_half_day_ends_at_one_but_its_daily_bar_keeps_the_usual_name():
    assert grid("XNYS", "15m", "2018-12-24T00:00", "2018-12-25T00:00")[-1] == "2018-12-24T18:00"
    assert grid("XNYS", "1d", "2018-12-24T00:00", "2018-12-25T00:00") == ["2018-12-24T21:00"]


def test_a_grid_runs_over_the_turn_of_the_year():
    assert grid("XNYS", "1d", "2018-12-28T22:00", "2019-01-03T00:00") == [
        "2018-12-31T21:00",
        "2019-01-02T21:00",
    ]


def test_nights_weekends_and_holidays_hold_no_bar():
    assert grid("XNYS", "1m", "2018-12-05T00:00", "2018-12-06T00:00") == []  # a day of mourning
    assert grid("XNYS", "1m", "2018-12-08T00:00", "2018-12-10T00:00") == []
    assert grid("XNYS", "1m", "2018-12-10T21:00", "2018-12-11T14:30") == []


@pytest.mark.parametrize(
    ("day", "why"),
    [
        ("2022-06-20", "Juneteenth on a Sunday is made up on Monday"),
        ("2021-12-24", "Christmas on a Saturday is made up on Friday"),
        ("2020-07-03", "Independence Day on a Saturday is made up on Friday"),
        ("2023-01-02", "New Year on a Sunday is made up on Monday"),
        ("2024-03-29", "Good Friday"),
        ("1972-12-28", "President Truman's funeral"),
        ("1977-07-14", "a blackout in New York"),
        ("1985-09-27", "hurricane Gloria"),
        ("1994-04-27", "President Nixon's funeral"),
        ("2001-09-13", "the attacks of September 11"),
        ("2012-10-29", "hurricane Sandy"),
        ("2025-01-09", "President Carter's funeral"),
    ],
)
def test_the_exchange_was_closed(day: str, why: str):
    assert grid("XNYS", "1m", day, f"{day}T23:59") == [], why


@pytest.mark.parametrize("day", ["1993-01-18", "1971-01-18", "1997-01-20", "1998-01-21"])
def test_martin_luther_kings_day_was_a_session_before_1998(day: str):
    assert len(grid("XNYS", "1d", day, f"{day}T23:59")) == 1
    assert grid("XNYS", "1d", "1998-01-19", "1998-01-19T23:59") == []


SESSIONS = """
254 253 251 252 253 253 253 252 252 253  253 253 253 253 253 252 253 253 253 252  253 253 254 253 252 252 254 253
"""  # of each year, 1970 to 1997


def test_there_are_as_many_sessions_as_the_exchange_had():
    """The rules of its holidays and the list of its closures give the same numbers."""
    closes = calendar("XNYS").grid("1d", np.datetime64("1970-01-01", "us"), np.datetime64("2027-01-01", "us"))
    by_year = np.bincount(closes.astype("datetime64[Y]").astype(int))
    assert by_year[:28].tolist() == [int(count) for count in SESSIONS.split()]
    assert len(closes) == 14_372
    kings_days = [date(year, 1, day) for year in range(1970, 1998) for day in range(15, 22)]
    mondays = np.array([day for day in kings_days if day.weekday() == 0], dtype="datetime64[D]")
    assert len(mondays) == 28
    assert np.isin(mondays, closes.astype("datetime64[D]")).all()  # it was not kept until 1998


def test_a_saturday_new_year_is_not_made_up():
    assert grid("XNYS", "1d", "2010-12-31", "2011-01-01") == ["2010-12-31T21:00"]
    assert grid("XNYS", "1d", "2021-06-18", "2021-06-19") == ["2021-06-18T20:00"]


def test_half_days_depend_on_the_weekday():
    assert half_days(2019) == {date(2019, 7, 3), date(2019, 11, 29), date(2019, 12, 24)}
    assert half_days(2020) == {date(2020, 11, 27), date(2020, 12, 24)}
    assert half_days(2022) == {date(2022, 11, 25)}
    assert half_days(2002) == {date(2002, 7, 5), date(2002, 11, 29), date(2002, 12, 24)}


@pytest.mark.parametrize("day", ["2000-04-21", "2019-04-19", "2024-03-29", "2038-04-23"])
def test_good_friday_follows_the_moon(day: str):
    assert grid("XNYS", "1m", day, f"{day}T23:59") == []


def test_nobody_waits_for_sessions_that_are_not_asked_for():
    code = "import sys, trading.market.feeds.files, trading.market.calendars as c; c.calendar('XNYS'); "
    code += "sys.exit(sum(name.split('.')[0] in ('exchange_calendars', 'pandas') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_date_names_its_daily_bar():
    assert calendar("XNYS").named_day(date(2024, 7, 1)) == at("2024-07-01T20:00")
    assert calendar("24/7").named_day(date(2024, 7, 1)) == at("2024-07-02T00:00")


@pytest.mark.parametrize("name", ["24/7", "XNYS"])
@pytest.mark.parametrize("timeframe", ["1m", "15m", "1h", "1d"])
def test_closes_are_numbered_without_laying_them_out(name: str, timeframe: str):
    closes = calendar(name).grid(timeframe, np.datetime64("2018-12-20", "us"), np.datetime64("2019-01-05", "us"))
    hours, second = calendar(name), np.timedelta64(1, "s")
    numbers = hours.index(timeframe, closes)
    assert np.all(np.diff(numbers) == 1)
    assert np.array_equal(hours.close_of(timeframe, numbers), closes)
    assert np.array_equal(hours.index(timeframe, closes - second), numbers - 1)
    assert hours.has_close(timeframe, closes).all()
    assert not hours.has_close(timeframe, np.append(closes + second, np.datetime64("NaT"))).any()


def test_an_unknown_calendar_is_named():
    with pytest.raises(DataError, match="calendar must be 24/7 or XNYS, was 'LSE'"):
        calendar("LSE")


def _lean(path: str) -> list[str]:
    with zipfile.ZipFile(needs("equity", *path.split("/"))) as archive:
        csv = archive.read("spy.csv")
    return pl.read_csv(csv, has_header=False, infer_schema=False).to_series(0).to_list()


def test_every_trading_day_of_23_years_of_spy_is_in_the_calendar_and_no_other():
    traded = {date.fromisoformat(f"{day[:4]}-{day[4:6]}-{day[6:8]}") for day in _lean("daily/spy.zip")}
    closes = calendar("XNYS").grid("1d", np.datetime64("1998-01-01"), np.datetime64("2021-04-01"))
    assert {utc(close).astimezone(NEW_YORK).date() for close in closes} == traded


def test_every_short_session_of_23_years_of_spy_is_a_half_day():
    last_hour: dict[str, int] = {}
    for row in _lean("hour/spy.zip"):
        last_hour[row[:8]] = max(last_hour.get(row[:8], 0), int(row[9:11]))
    short = {date.fromisoformat(f"{day[:4]}-{day[4:6]}-{day[6:]}") for day, hour in last_hour.items() if hour < 14}
    assert short <= set().union(*(half_days(year) for year in range(1998, 2022)))
