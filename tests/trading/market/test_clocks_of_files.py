"""Times that name no offset from UTC, written by the clock of some place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from django.core.management import CommandError

from tests.trading.market.test_data_commands import HEADER, refused, run
from trading.market import read as selectors

pytestmark = pytest.mark.django_db
SESSION = ("09:30", "16:00")  # the second time is none of them
EXTENDED = ("04:00", "20:00")
TEXT = "%Y-%m-%d %H:%M"
WINTER, SUMMER = ("2024-01-08",), ("2024-07-08", "2024-07-09")


def opens(days: tuple[str, ...], hours: tuple[str, str], zone: str) -> pl.Series:
    """Every minute between two times of New York's days, as a place's clock shows it."""
    of_days = [np.arange(f"{day}T{hours[0]}", f"{day}T{hours[1]}", dtype="datetime64[m]") for day in days]
    wall = pl.Series("ts", np.concatenate(of_days).astype("datetime64[us]")).dt.replace_time_zone("America/New_York")
    return wall.dt.convert_time_zone(zone)


def written(folder: Path, times: pl.Series, form: str = TEXT) -> Path:
    texts = (times.dt.replace_time_zone(None).dt.epoch("s") if form == "epoch" else times.dt.strftime(form)).to_list()
    path = folder / "prices.csv"
    path.write_text(HEADER + "".join(f"{text},10,12,9,11,1\n" for text in texts))
    return path


def arguments(path: Path, *others: str) -> tuple[object, ...]:
    return ("import_data", path, "--symbol", "ACME", "--timeframe", "1m", "--drop-invalid", *others)


@pytest.mark.parametrize(("days", "hours"), [(WINTER, SESSION), (WINTER, EXTENDED), (SUMMER, EXTENDED)])
@pytest.mark.parametrize(
    ("zone", "form"),
    [("America/New_York", TEXT), ("America/New_York", "epoch"), ("Europe/Berlin", TEXT), ("Asia/Tokyo", TEXT)],
)
def test_rows_that_show_another_clock_are_not_dropped_for_it(tmp_path, zone, days, hours, form):
    path = written(tmp_path, opens(days, hours, zone), form)
    sentence = refused(*arguments(path))
    assert sentence.startswith(f"prices.csv, column ts: expected times in UTC, as none names an offset, but {zone} has")
    assert f"--zone {zone} reads them by that clock" in sentence
    run(*arguments(path, "--zone", zone))
    right = opens(days, SESSION, "UTC").dt.replace_time_zone(None).to_numpy() + np.timedelta64(1, "m")
    stored = selectors.bar_range(["ACME"], "1m").ts
    assert stored.tolist() == right.astype("datetime64[us]").tolist()


def test_a_years_times_of_london_differ_from_utc_in_its_summer_only(tmp_path):
    days = tuple(str(day) for day in np.arange("2024-02-05", "2024-05-05", 7, dtype="datetime64[D]"))
    assert "--zone Europe/London reads them" in refused(
        *arguments(written(tmp_path, opens(days, SESSION, "Europe/London")))
    )


@pytest.mark.parametrize(
    ("days", "hours", "others"),
    [(WINTER, EXTENDED, ()), (SUMMER, EXTENDED, ()), (SUMMER, SESSION, ("--zone", "UTC"))],
)
def test_times_in_utc_are_taken_as_they_stand(tmp_path, days, hours, others):
    path = written(tmp_path, opens(days, hours, "UTC"))
    got = json.loads(run(*arguments(path, *others, "--json")))
    assert got["understood"]["zone"] == ("UTC" if others else "UTC, as none is named; --zone changes that")
    assert got["understood"]["first"].startswith(f"known at {days[0]} {'14:31' if days == WINTER else '13:31'} UTC")
    assert got["series"][0]["rows"] == 390 * len(days)


def days_between(first: str, last: str) -> tuple[str, ...]:
    days = np.arange(first, last, dtype="datetime64[D]")
    return tuple(map(str, days[np.is_busday(days)]))


def server(days: tuple[str, ...], hours: tuple[str, str]) -> pl.Series:
    """A broker's clock: New York's and seven hours."""
    return (
        opens(days, hours, "America/New_York").dt.replace_time_zone(None).dt.offset_by("7h").dt.replace_time_zone("UTC")
    )


SPRING = days_between("2024-02-26", "2024-03-28")  # summer time begins in America on March 10th, in Europe on the 31st


@pytest.mark.parametrize("hours", [SESSION, EXTENDED])
@pytest.mark.parametrize(
    ("written_by", "named", "told"),
    [
        ("America/New_York", "America/Chicago", "too late, day after day, from row"),
        ("America/New_York", "UTC", "too early, day after day, from row"),
        ("Etc/GMT+5", "America/New_York", "1 h too early, day after day, from row"),
        ("America/New_York+7", "Europe/Helsinki", "too late, day after day, from row"),
    ],
)
def test_a_clock_that_is_named_and_moves_bars_out_of_their_hours_is_refused(tmp_path, hours, written_by, named, told):
    times = server(SPRING, hours) if written_by.endswith("+7") else opens(SPRING, hours, written_by)
    path = written(tmp_path, times)
    sentence = refused(*arguments(path, "--zone", named))
    assert "expected bars of sessions of XNYS, was bars" in sentence
    assert told in sentence
    assert f"the clock of {written_by} fits, and --zone names it" in sentence
    assert f"--zone {written_by} reads them by that clock" in refused(*arguments(path))
    run(*arguments(path, "--zone", written_by))
    right = opens(SPRING, SESSION, "UTC").dt.replace_time_zone(None).to_numpy() + np.timedelta64(1, "m")
    assert selectors.bar_range(["ACME"], "1m").ts.tolist() == right.astype("datetime64[us]").tolist()


@pytest.mark.parametrize("stamp", ["-05:00", "Z"])
def test_an_offset_that_moves_bars_out_of_their_hours_is_refused(tmp_path, stamp):
    path = written(tmp_path, opens(SPRING, SESSION, "America/New_York"), f"{TEXT}{stamp}")
    assert "the clock of America/New_York fits, and --zone names it for times without an offset" in refused(
        *arguments(path)
    )


def test_times_that_fit_no_clock_are_refused_without_one(tmp_path):
    times = opens(SPRING, SESSION, "UTC").dt.offset_by("17m")
    assert "; no clock of a place and no offset shows hours of XNYS in them" in refused(
        *arguments(written(tmp_path, times))
    )


@pytest.mark.parametrize(("days", "how"), [(1, "late"), (-1, "early")])
def test_days_that_are_named_by_the_midnights_of_others_are_refused(tmp_path, days, how):
    dates = np.array(days_between("2024-02-26", "2024-03-23"), "datetime64[D]") + days
    path = tmp_path / "prices.csv"
    path.write_text(HEADER + "".join(f"{day}T00:00:00Z,10,12,9,11,1\n" for day in dates))
    sentence = refused(
        "import_data", path, "--symbol", "ACME", "--timeframe", "1d", "--drop-invalid", "--asset-class", "equity"
    )
    assert f"was bars 24 h too {how}, day after day, from row" in sentence
    assert "; each must be named by its own date" in sentence


def test_a_stray_saturday_is_dropped(tmp_path):
    path = tmp_path / "prices.csv"
    days = (*days_between("2024-02-26", "2024-03-09"), "2024-03-09")
    path.write_text(HEADER + "".join(f"{day},10,12,9,11,1\n" for day in days))
    run("import_data", path, "--symbol", "ACME", "--timeframe", "1d", "--drop-invalid")
    assert selectors.bar_range(["ACME"], "1d").n_bars == 10


def test_some_stray_rows_are_no_sign_of_another_clock(tmp_path):
    path = written(tmp_path, opens(("2024-01-08",), ("09:35", "10:20"), "UTC"))
    path.write_text(path.read_text() + "2024-01-08 22:30,10,12,9,11,1\n")
    assert json.loads(run(*arguments(path, "--json")))["series"][0]["dropped_rows"] == 1


def test_a_coins_times_are_read_by_the_clock_that_is_named(tmp_path):
    path = written(tmp_path, opens(WINTER, SESSION, "Europe/Berlin"))
    run("import_data", path, "--symbol", "BTC/EUR", "--timeframe", "1m", "--zone", "Europe/Berlin")
    assert str(selectors.bar_range(["BTC/EUR"], "1m").ts[0])[:16] == "2024-01-08T14:30"


@pytest.mark.parametrize("moment", ["2024-03-31 02:30", "2024-10-27 02:30"])
def test_a_time_that_a_clock_shows_never_or_twice_is_none(tmp_path, moment):
    path = tmp_path / "prices.csv"
    path.write_text(f"{HEADER}{moment},10,12,9,11,1\n2024-06-01 10:00,10,12,9,11,1\n")
    sentence = refused("import_data", path, "--symbol", "BTC/EUR", "--timeframe", "1m", "--zone", "Europe/Berlin")
    assert f"that the clock of Europe/Berlin shows once, was '{moment}'; --drop-invalid" in sentence


@pytest.mark.parametrize(
    ("zone", "time", "told"),
    [
        ("Mars/Olympus", "2024-01-08 14:30", "--zone must be a time zone such as America/New_York or UTC, was 'Mars/O"),
        ("../UTC", "2024-01-08 14:30", "--zone must be a time zone such as"),
        ("America", "2024-01-08 14:30", "--zone must be a time zone such as"),
        ("UTC", "2024-01-08 14:30+01:00", "--zone is for times that name no offset from UTC, and these name +01:00"),
    ],
)
def test_a_zone_that_is_none_or_of_no_use_is_refused(tmp_path, zone, time, told):
    path = tmp_path / "prices.csv"
    path.write_text(f"{HEADER}{time},10,12,9,11,1\n")
    with pytest.raises(CommandError, match="--zone") as caught:
        run(*arguments(path, "--zone", zone))
    assert told in str(caught.value)
