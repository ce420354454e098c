"""Which bars the times of a file name: by its columns, by the times themselves, or as somebody says."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.errors import DataError
from trading.market.calendars import NEW_YORK, calendar
from trading.market.feeds.file_times import read_times
from trading.market.feeds.files import FileSource

VALUES = "open,high,low,close,volume"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SESSIONS = (
    calendar("XNYS")
    .grid("1d", np.datetime64("1970", "us"), np.datetime64("2090", "us"))
    .astype("datetime64[D]")
    .tolist()
)


@pytest.fixture
def source(tmp_path: Path):
    """A file of the given columns of times, whose bars are all alike."""

    def make(timeframe: str, names: str, *times: str, calendar: str = "24/7", **options) -> FileSource:
        path = tmp_path / "prices.csv"
        path.write_text("\n".join([f"{names},{VALUES}", *(f"{each},1,1,1,1,1" for each in times)]))
        return FileSource(path=path, symbol="X", timeframe=timeframe, calendar=calendar, **options)

    return make


def closes(found: FileSource) -> list[str]:
    return [str(ts)[:19] for ts in found.read().ts]


def names(found: FileSource) -> str:
    return str(found.rows().bars(found.calendar)[1])


moments = st.datetimes(datetime(1985, 1, 1), datetime(2099, 1, 1)).map(  # noqa: DTZ001 - naive as what is read
    lambda moment: moment.replace(microsecond=0)
)


@given(st.lists(st.tuples(moments, st.sampled_from([1, 10**3, 10**6, 10**9]), st.booleans()), min_size=1))
def test_each_number_since_1970_is_read_by_its_own_unit(rows):
    whole = [int((moment.replace(tzinfo=UTC) - EPOCH) / timedelta(seconds=1)) * unit for moment, unit, _ in rows]
    text = [f"{number}.0" if pointed else str(number) for number, (_, _, pointed) in zip(whole, rows, strict=True)]
    expected = [moment for moment, *_ in rows]
    for column in (pl.Series(text), pl.Series(whole), pl.Series(whole, dtype=pl.Float64)):
        assert read_times(column).utc.to_list() == expected


@given(st.dates(date(1900, 1, 1), date(2099, 1, 1)))
def test_a_number_of_eight_digits_is_a_date(day: date):
    number = int(f"{day:%Y%m%d}")
    for column in (pl.Series([number]), pl.Series([float(number)]), pl.Series([str(number)])):
        assert read_times(column).utc.to_list() == [datetime.combine(day, time())]


@pytest.mark.parametrize("value", ["-2024-01-03", "0000-01-01", "12024-01-03", "9999-12-31"])
def test_a_year_that_no_calendar_has_is_no_time(value: str):
    assert read_times(pl.Series([value, "2024-01-03"])).utc.to_list() == [None, datetime(2024, 1, 3)]  # noqa: DTZ001


@pytest.mark.parametrize("value", [45293, 1.5, 86_400, 19_691_332, True, "45293"])
def test_any_other_number_is_no_time(value: object):
    assert read_times(pl.Series([value])).utc.to_list() == [None]


@pytest.mark.parametrize("value", ["1704067199.876", "1704067199876.0", "1704067199876", 1704067199.876])
def test_a_number_since_1970_may_have_decimals(value: object):
    found = read_times(pl.Series([value, value]))
    assert found.utc.to_list() == 2 * [datetime(2023, 12, 31, 23, 59, 59, 876_000)]  # noqa: DTZ001


@given(st.lists(st.sampled_from(SESSIONS), min_size=2, max_size=30), st.sampled_from(["%z", "epoch"]))
def test_midnight_in_new_york_names_a_day_whatever_the_offset(tmp_path_factory, days: list[date], how: str):
    at = [datetime.combine(day, time(), NEW_YORK) for day in days]
    text = [str(int(each.timestamp() * 1_000)) if how == "epoch" else f"{each:%Y-%m-%d %H:%M:%S%z}" for each in at]
    path = tmp_path_factory.getbasetemp() / "midnights.csv"
    path.write_text("\n".join([f"Date,{VALUES}", *(f"{each},1,1,1,1,1" for each in text)]))
    if how == "epoch" and any(abs(each.timestamp()) < 1e8 for each in at):
        return  # so early, a number of milliseconds looks like one of seconds
    got = FileSource(path=path, symbol="X", timeframe="1d", calendar="XNYS").read()
    assert [ts.item().replace(tzinfo=UTC).astimezone(NEW_YORK) for ts in got.ts] == [
        datetime.combine(day, time(16), NEW_YORK) for day in days
    ]


@pytest.mark.parametrize(
    "written", ["2024-01-10", "2024-01-10 00:00:00", "20240110", "1704844800", "2024-01-10T00:00Z"]
)
def test_a_coins_day_is_known_at_the_next_midnight_and_a_stocks_at_its_close(source, written: str):
    assert closes(source("1d", "date", written)) == ["2024-01-11T00:00:00"]
    assert closes(source("1d", "date", written, calendar="XNYS")) == ["2024-01-10T21:00:00"]
    assert closes(source("1d", "date", written, times="close")) == ["2024-01-10T00:00:00"]
    assert names(source("1d", "date", written)).startswith("days, as midnights name them")


def test_the_opening_of_a_session_names_its_day(source):
    assert closes(source("1d", "timestamp", "2024-03-08 14:30", "2024-03-11 13:30", calendar="XNYS")) == [
        "2024-03-08T21:00:00",
        "2024-03-11T20:00:00",
    ]


def test_midnights_of_elsewhere_name_no_day_of_the_session_before(source):
    """London's, in UTC: those of summer are at 23:00 of the day before. None may be known before its own day."""
    days = [date(2022, 10, 3) + timedelta(days=n) for n in range(199) if n % 7 < 5]
    midnights = [datetime.combine(day, time(), ZoneInfo("Europe/London")).astimezone(UTC) for day in days]
    got = source("1d", "date", *(f"{each:%Y-%m-%d %H:%M}" for each in midnights), calendar="XNYS").read()
    hours = calendar("XNYS")
    summer = np.array([each.hour == 23 for each in midnights])
    assert not hours.has_close("1d", got.ts[summer]).any()
    assert got.ts[~summer].tolist() == [
        datetime.combine(day, time(16), NEW_YORK).astimezone(UTC).replace(tzinfo=None)
        for day, off in zip(days, summer, strict=True)
        if not off
    ]


@pytest.mark.parametrize("moment", ["21:00", "20:00", "14:30", "13:30", "05:00", "04:00"])
@pytest.mark.parametrize("months", [(1, 12), (1, 6), (4, 10), (7, 7), (12, 12)])
def test_a_moment_that_stands_still_in_utc_names_its_day_in_summer_and_in_winter(source, moment: str, months):
    days = [day for day in SESSIONS if day.year == 2023 and months[0] <= day.month <= months[1]]
    got = source("1d", "timestamp", *(f"{day} {moment}" for day in days), calendar="XNYS")
    assert got.read().ts.tolist() == [
        datetime.combine(day, time(16), NEW_YORK).astimezone(UTC).replace(tzinfo=None) for day in days
    ]
    if months == (1, 12):
        told = f"days, as they stand at {moment} UTC all year: a day's bar is known at the close of its session"
        assert names(got) == told


@pytest.mark.parametrize(("zone", "moment"), [("Europe/London", time(21)), ("Europe/Berlin", time(22))])
def test_closes_by_a_clock_that_changes_in_other_weeks_than_new_yorks_name_their_days(source, zone: str, moment: time):
    days = [day for day in SESSIONS if day.year == 2023]
    written = (f"{day} {moment}" for day in days)
    assert source("1d", "timestamp", *written, calendar="XNYS", zone=zone).read().ts.tolist() == [
        datetime.combine(day, time(16), NEW_YORK).astimezone(UTC).replace(tzinfo=None) for day in days
    ]


@pytest.mark.parametrize(
    ("odd", "close"),
    [
        ("2024-01-10 23:00", "2024-01-10T23:00:00"),  # 18:00 in New York: of which day?
        ("2024-01-10 18:23:11", "2024-01-10T21:00:00"),  # while its session is under way
    ],
)
def test_a_moment_beside_openings_names_the_session_that_it_lies_in_or_none(source, odd: str, close: str):
    assert closes(source("1d", "timestamp", "2024-01-08 14:30", "2024-01-09 14:30", odd, calendar="XNYS"))[2] == close


@pytest.mark.parametrize(
    ("column", "written", "close"),
    [
        ("open_time", "2024-01-10 10:00", "11:00:00"),
        ("openTime", "2024-01-10 10:00", "11:00:00"),
        ("Open time", "2024-01-10 10:00", "11:00:00"),
        ("close_time", "2024-01-10 10:00", "10:00:00"),
        ("close_time", "1704880799999", "10:00:00"),
        ("timestamp", "2024-01-10 09:59:59.999", "10:00:00"),
        ("timestamp", "2024-01-10 09:59:59", "10:00:00"),
        ("timestamp", "2024-01-10 10:00:00", "10:00:00"),
        ("bar_ts", "2024-01-10 10:00:00", "10:00:00"),
    ],
)
def test_a_column_or_the_times_themselves_say_whether_they_are_opens_or_closes(
    source, column: str, written: str, close: str
):
    assert closes(source("1h", column, written)) == [f"2024-01-10T{close}"]


def test_what_somebody_says_goes_before_what_the_column_says(source):
    assert closes(source("1h", "open_time", "2024-01-10 10:00", times="close")) == ["2024-01-10T10:00:00"]
    assert names(source("1h", "open_time", "2024-01-10 10:00", times="close")) == "closes, as --times close says"


@pytest.mark.parametrize(("first", "what"), [("14:30", "opens"), ("14:31", "closes")])
def test_minutes_of_a_session_show_whether_they_begin_or_end_their_bars(source, first: str, what: str):
    start = datetime.fromisoformat(f"2024-01-10 {first}")
    minutes = [str(start + timedelta(minutes=minute)) for minute in range(390)]
    got = source("1m", "timestamp", *minutes, calendar="XNYS")
    assert (closes(got)[0], closes(got)[-1]) == ("2024-01-10T14:31:00", "2024-01-10T21:00:00")
    assert names(got).startswith(what)


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("%Y-%m-%dT%H:%M:%S%z", {}),
        ("%Y-%m-%dT%H:%M:%S%z", {"times": "open"}),
        ("%s", {}),
        ("%Y-%m-%d %H:%M", {"zone": "America/New_York"}),
    ],
)
def test_hours_that_begin_with_the_session_and_then_with_each_hour_are_read(source, written: str, options):
    """As brokers name them: 9:30, 10:00, 11:00; the first of a session is half a bar, half days have fewer."""
    hours = calendar("XNYS")
    right = hours.grid("1h", np.datetime64("2023-11-01", "us"), np.datetime64("2023-12-15", "us"))
    begins = [
        local.replace(minute=30) if (local.hour, local.minute) == (9, 0) else local
        for ts in right.tolist()
        for local in [(ts.replace(tzinfo=UTC) - timedelta(hours=1)).astimezone(NEW_YORK)]
    ]
    text = [str(int(each.timestamp())) if written == "%s" else each.strftime(written) for each in begins]
    got = source("1h", "date", *text, calendar="XNYS", **options)
    assert closes(got) == [str(ts)[:19] for ts in right]
    assert names(got).startswith("opens")


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_left_of_an_hour_before_a_session_ends_where_that_begins(source, order: int):
    """With hours of trade before and after sessions: 4:00 to 9:00, 9:30, 10:00; the half hour from 9:00 is no hour."""
    opens = ["04:00", *(f"{hour:02d}:00" for hour in range(5, 10)), "09:30", *(f"{hour}:00" for hour in range(10, 20))]
    text = [f"2023-11-{day:02d} {at}" for day in (6, 7, 8) for at in opens][::order]
    got = source("1h", "date", *text, calendar="XNYS", zone="America/New_York")
    found = dict(zip(text, closes(got), strict=True))
    assert [found[f"2023-11-07 {at}"][11:16] for at in ("08:00", "09:00", "09:30", "10:00")] == [
        *("14:00", "14:30", "15:00", "16:00")
    ]


def test_whole_hours_from_the_beginning_of_a_session_are_known_when_they_end(source):
    begins = [datetime(2023, 11, day, 9 + hour, 30, tzinfo=NEW_YORK) for day in (6, 7, 8) for hour in range(7)]
    got = source("1h", "date", *(each.isoformat() for each in begins), calendar="XNYS", times="open")
    assert closes(got)[:2] == ["2023-11-06T15:30:00", "2023-11-06T16:30:00"]  # and no bars of ours: 10:00, 11:00


@pytest.mark.parametrize(("first", "what"), [("09:00", "opens"), ("09:01", "closes")])
def test_minutes_before_and_after_a_session_show_it_too(source, first: str, what: str):
    start = datetime.fromisoformat(f"2024-01-10 {first}")
    minutes = [str(start + timedelta(minutes=minute)) for minute in range(16 * 60)]
    got = source("1m", "timestamp", *minutes, calendar="XNYS", zone="UTC")
    assert (closes(got)[0], closes(got)[-1]) == ("2024-01-10T09:01:00", "2024-01-11T01:00:00")
    assert names(got).startswith(what)


@pytest.mark.parametrize("timeframe", ["1m", "15m"])
def test_the_few_bars_of_a_thin_stock_before_and_after_sessions_show_it(source, timeframe: str):
    length = timedelta(minutes=int(timeframe[:-1]))
    days = [datetime(2024, 1, 8, 4, tzinfo=NEW_YORK) + timedelta(days=n) for n in range(180) if n % 7 < 5]
    every = [day + n * length for day in days for n in range(timedelta(hours=16) // length)]
    some = np.sort(np.random.default_rng(7).choice(len(every), len(every) // 15, replace=False))
    text = [every[row].isoformat() for row in some]
    assert names(source(timeframe, "timestamp", *text, calendar="XNYS")).startswith("opens, as more of them begin")


def test_two_bars_a_day_are_no_evidence_against_a_clock(source):
    days = [datetime(2024, 1, 8, tzinfo=NEW_YORK) + timedelta(days=n) for n in range(12) if n % 7 < 5]
    text = [(day + timedelta(hours=hour)).isoformat() for day in days for hour in (12, 18)]
    assert source("1h", "timestamp", *text, calendar="XNYS", times="close").read().n_rows == len(text)


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (("09:30", "16:01"), "in 2 ways alike: one of --times open, --times close must say which"),
        (("07:00", "18:00"), "--times open reads them by that clock"),
    ],
)
def test_times_at_both_ends_of_sessions_are_refused_until_somebody_says_what_they_name(source, hours, told):
    minutes = np.arange(*(f"2024-01-10T{each}" for each in hours), dtype="datetime64[m]") + np.timedelta64(5, "h")
    with pytest.raises(DataError, match=told):
        source("1m", "timestamp", *map(str, minutes), calendar="XNYS").read()
    said = source("1m", "timestamp", *map(str, minutes), calendar="XNYS", times="open")
    assert names(said) == "opens, as --times open says"


@pytest.mark.parametrize(
    ("first", "n_bars", "told"),
    [
        ("00:00", 24, "opens, as the first begins a day and the last is a bar before one; --times close changes that"),
        ("00:00", 48, "opens, as the first begins a day"),
        ("01:00", 24, "closes, as the last ends a day; --times open changes that"),
        (
            "00:00",
            23,
            "closes, as nothing says otherwise, so that opens, which most exchanges write, would be known a bar",
        ),
        ("00:00", 25, "closes, as nothing says otherwise"),
        ("03:00", 24, "closes, as nothing says otherwise"),
    ],
)
def test_whole_days_of_bars_around_the_clock_show_whether_they_begin_or_end_them(source, first, n_bars, told):
    start = datetime.fromisoformat(f"2024-01-10 {first}")
    got = source("1h", "timestamp", *(str(start + timedelta(hours=hour)) for hour in range(n_bars)))
    assert names(got).startswith(told)
    known = start + timedelta(hours=told.startswith("opens"))
    assert closes(got)[0] == known.isoformat()


@pytest.mark.parametrize(
    ("columns", "written"),
    [
        ("Date,Time", "2024-01-10,10:00:00"),
        ("<DATE>,<TIME>", "2024.01.10,10:00"),
        ("date,time", "20240110,100000"),
        ("open_time,close_time", "2024-01-10 09:00,2024-01-10 09:59:59.999"),
        ("unix,date", "1704880800000,2024-01-10 10:00:00"),
        ("timestamp,local_time", "2024-01-10 10:00,"),
    ],
)
def test_two_columns_that_tell_one_time_are_one(source, columns: str, written: str):
    assert closes(source("1h", columns, written)) == ["2024-01-10T10:00:00"]


@pytest.mark.parametrize(
    ("columns", "written"),
    [
        ("date,trade_time", "2024-01-10,10:00"),
        ("date,hour", "2024-01-10,10"),
        ("date,Uhrzeit", "2024-01-10,10:00"),
        ("ts,timestamp", "2024-01-10 10:00,2024-01-10 11:00"),
    ],
)
def test_a_second_time_that_differs_is_refused_until_one_is_chosen(source, columns: str, written: str):
    time_column, other = columns.split(",")
    with pytest.raises(DataError) as caught:
        source("1h", columns, written).read()
    value = written.split(",")[1]
    assert str(caught.value) == (
        f"prices.csv must tell its times in one column, has {time_column} and also {other} with others "
        f"(row 2: '{value}'); --time-column names the one to read"
    )
    assert len(closes(source("1h", columns, written, time_column=time_column))) == 1


@pytest.mark.parametrize(
    ("columns", "written", "options"),
    [
        ("timestamp,date", "2024-01-10 05:00,2024-01-10T05:00:00", {"zone": "America/New_York"}),
        ("timestamp,unix", "2024-01-10 05:00,1704880800", {"zone": "America/New_York"}),
        ("timestamp,date", "10/1/2024 10:00,10/1/2024 10:00", {"dates": "dmy"}),
    ],
)
def test_a_second_time_is_read_by_the_zone_and_the_order_that_are_named(source, columns, written, options):
    assert closes(source("1h", columns, written, **options)) == ["2024-01-10T10:00:00"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (",", "row 3, column ts: expected a time such as .*, was empty"),
        ("2024-01-10 11:00,2024-01-10 12:00", r"and also date with others \(row 3: '2024-01-10 12:00'\)"),
    ],
)
def test_a_second_time_that_is_alike_or_blank_with_the_first_is_no_other(source, row: str, sentence: str):
    with pytest.raises(DataError, match=sentence):
        source("1h", "ts,date", "2024-01-10 10:00,2024-01-10 10:00", row).read()


def test_times_with_an_offset_and_without_one_are_told_both(source):
    found = source("1h", "ts", "2024-01-10T10:00:00-05:00", "2024-01-10 16:00:00", "1704906000").rows()
    assert found.clock == "-05:00, UTC where none is named"


def test_a_chosen_column_that_is_not_there_is_named(source):
    with pytest.raises(DataError, match="must have the column when that --time-column names; it has ts, open"):
        source("1h", "ts", "2024-01-10 10:00", time_column="when").read()


def test_a_date_beside_something_that_is_no_time_of_day_is_named(source):
    with pytest.raises(DataError, match=r"row 2, column date and time: expected a time such as .*, was empty"):
        source("1h", "date,time", "2024-01-10,noon").read()


def test_times_with_a_zone_keep_their_midnights():
    midnights = pl.Series([datetime(2024, 3, 8), datetime(2024, 3, 11)])  # noqa: DTZ001 - a zone follows
    got = read_times(midnights.dt.replace_time_zone("America/New_York"))
    assert got.wall.to_list() == midnights.to_list()
    assert np.array_equal(got.utc.dt.hour(), [5, 4])
