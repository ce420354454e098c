"""Files of what trades in other hours than US stocks: no clock reads them, only a part of their bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helios.errors import DataError
from tests.trading.market.test_data_commands import HEADER, refused, run
from trading.market import read as selectors
from trading.market.calendars import calendar
from trading.market.feeds.files import FileSource

XNYS = calendar("XNYS")
YEAR = ("2023-01-02", "2023-12-30")
SPRING = ("2023-02-21", "2023-05-26")  # no holiday of New York's alone
TEXT = "%Y-%m-%d %H:%M"
NONE = (
    "; no clock of a place and no offset shows hours of XNYS in them, and no calendar is known but XNYS and 24/7: "
    "--asset-class crypto is for what trades at night or around the clock, and who knows that it is a US stock names "
    "its clock"
)


@dataclass(frozen=True)
class Market:
    """Hours of an exchange by its own clock, in pairs."""

    zone: str
    hours: tuple[str, ...]

    def opens(self, days: tuple[str, str], minutes: int = 5) -> pl.Series:
        found = [day for day in np.arange(*days, dtype="datetime64[D]") if np.is_busday(day)]
        if self.zone == "America/New_York":
            found = [day for day in found if XNYS.closes_at("1d", XNYS.named_day(day.item()))]
        pairs = list(zip(self.hours[::2], self.hours[1::2], strict=True))
        of_days = [
            np.arange(f"{day}T{begin}", f"{day}T{end}", minutes, dtype="datetime64[m]")
            for day in found
            for begin, end in pairs
        ]
        return pl.Series(np.concatenate(of_days).astype("datetime64[us]")).dt.replace_time_zone(self.zone)


LONDON = Market("Europe/London", ("08:00", "16:30"))
NEW_YORK = Market("America/New_York", ("09:30", "16:00"))
OTHERS = {
    "London": LONDON,
    "Xetra": Market("Europe/Berlin", ("09:00", "17:30")),
    "Copenhagen": Market("Europe/Copenhagen", ("09:00", "17:00")),
    "Bombay": Market("Asia/Kolkata", ("09:15", "15:30")),
    "Tokyo": Market("Asia/Tokyo", ("09:00", "11:30", "12:30", "15:00")),
    "Hong Kong": Market("Asia/Hong_Kong", ("09:30", "12:00", "13:00", "16:00")),
    "Sydney": Market("Australia/Sydney", ("10:00", "16:00")),
}
CLOCKS = {
    "wall": lambda times: times.dt.strftime(TEXT),
    "utc": lambda times: times.dt.convert_time_zone("UTC").dt.strftime(TEXT),
    "stamped": lambda times: times.dt.strftime(f"{TEXT}%:z"),
}


def written(folder: Path, texts: pl.Series, column: str = "open_time") -> Path:
    path = folder / "prices.csv"
    path.write_text(HEADER.replace("ts", column, 1) + "".join(f"{text},10,12,9,11,1\n" for text in texts))
    return path


def sentence(path: Path, timeframe: str, zone: str = "") -> str:
    """What reading a file as one of US stocks says against it."""
    source = FileSource(path=path, symbol="ACME", timeframe=timeframe, calendar="XNYS", zone=zone)
    with pytest.raises(DataError) as caught:
        source.read()
    return str(caught.value)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(("days", "minutes"), [(YEAR, 5), (SPRING, 5), (SPRING, 15), (YEAR, 60)])
def test_no_clock_reads_the_bars_of_another_exchange(tmp_path, name, clock, days, minutes):
    times = OTHERS[name].opens(days, minutes)
    if minutes == 60:
        times = times.dt.truncate("1h").unique(maintain_order=True)
    told = sentence(written(tmp_path, CLOCKS[clock](times)), {5: "5m", 15: "15m", 60: "1h"}[minutes])
    assert told.endswith(NONE)
    assert "day after day" in told
    assert "--zone" not in told


@pytest.mark.parametrize("zone", ["America/New_York", "America/Chicago"])
@pytest.mark.parametrize("name", OTHERS)
def test_nor_is_a_clock_taken_that_somebody_names(tmp_path, name, zone):
    path = written(tmp_path, CLOCKS["wall"](OTHERS[name].opens(YEAR)))
    assert sentence(path, "5m", zone).endswith(NONE)


def around_the_clock(zone: str, *, pause: int) -> pl.Series:
    """Hours from Sunday evening to Friday afternoon, but for one each day: currencies, metals and futures."""
    hours = pl.Series(np.arange("2023-01-02", "2023-06-30", dtype="datetime64[h]").astype("datetime64[us]"))
    local = hours.dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    day, hour = local.dt.weekday(), local.dt.hour()
    is_open = ((day < 5) | ((day == 5) & (hour < 17)) | ((day == 7) & (hour >= 18))) & (hour != pause)
    return local.filter(is_open).dt.convert_time_zone(zone)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("pause", [17, -1])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "America/Chicago", "Etc/GMT-2"])
def test_no_clock_reads_what_trades_at_night(tmp_path, clock, pause, zone):
    path = written(tmp_path, CLOCKS[clock](around_the_clock(zone, pause=pause)))
    assert sentence(path, "1h").endswith(NONE)


@pytest.mark.django_db
def test_a_part_of_other_hours_is_not_stored_by_dropping_the_rest_and_coins_have_all(tmp_path):
    path = written(tmp_path, CLOCKS["utc"](around_the_clock("UTC", pause=-1)))
    arguments = ("import_data", path, "--symbol", "EURUSD", "--timeframe", "1h", "--drop-invalid")
    for others in ((), ("--zone", "UTC"), ("--zone", "Etc/GMT+3")):
        told = refused(*arguments, *others)
        assert "was bars of other hours day after day (" in told
        assert NONE in told
    run(*arguments, "--asset-class", "crypto")
    assert selectors.bar_range(["EURUSD"], "1h").n_bars == len(around_the_clock("UTC", pause=-1))


@pytest.mark.parametrize("hours", [("04:00", "20:00"), ("07:00", "20:00"), ("08:00", "18:30"), ("09:30", "16:15")])
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_the_hours_before_and_after_sessions_are_still_read(tmp_path, hours, zone):
    market = Market("America/New_York", hours)
    times = market.opens(("2023-02-21", "2023-03-31")).dt.convert_time_zone(zone)
    path = written(tmp_path, CLOCKS["wall"](times))
    assert f"--zone {zone} reads them by that clock" in sentence(path, "5m")
    for texts, named in ((CLOCKS["wall"](times), zone), (CLOCKS["utc"](times), "")):
        path = written(tmp_path, texts)
        table = FileSource(path=path, symbol="A", timeframe="5m", calendar="XNYS", zone=named).read()
        assert table.n_rows == len(times)


@pytest.mark.parametrize("part", [0.05, 0.3])
def test_stocks_that_trade_seldom_are_read_by_their_clock_too(tmp_path, part):
    minutes = NEW_YORK.opens(SPRING, 1)
    times = minutes.filter(pl.Series(np.random.default_rng(3).random(len(minutes)) < part))
    assert "--zone America/New_York reads them" in sentence(written(tmp_path, CLOCKS["wall"](times)), "1m")
    london = LONDON.opens(SPRING, 1)
    others = london.filter(pl.Series(np.random.default_rng(3).random(len(london)) < part))
    assert sentence(written(tmp_path, CLOCKS["wall"](others)), "1m").endswith(NONE)


@pytest.mark.parametrize("seed", [0, 1, 6])
def test_days_of_seldom_trades_that_begin_and_end_late_by_chance_are_no_shift(tmp_path, seed):
    minutes = Market("America/New_York", ("04:00", "20:00")).opens(SPRING, 1)
    of_day = (minutes.dt.hour().cast(pl.Int32) * 60 + minutes.dt.minute()).to_numpy()
    part = np.select([(of_day >= 570) & (of_day < 960), (of_day >= 540) & (of_day < 990)], [0.02, 0.004], 0.0005)
    times = minutes.filter(pl.Series(np.random.default_rng(seed).random(len(minutes)) < part))
    path = written(tmp_path, CLOCKS["utc"](times))
    assert FileSource(path=path, symbol="A", timeframe="1m", calendar="XNYS").read().n_rows == len(times)


@pytest.mark.django_db
@pytest.mark.parametrize("drop", [(), ("--drop-invalid",)])
def test_days_of_a_stock_that_are_called_hours_are_told_from_a_wrong_clock(tmp_path, drop):
    path, days = tmp_path / "daily.csv", pl.date_range(date(2024, 1, 2), date(2024, 12, 20), eager=True)
    rows = "".join(f"{day},1,2,1,2,7\n" for day in days.filter(days.dt.weekday() < 6))
    path.write_text(f"Date,Open,High,Low,Close,Volume\n{rows}")
    sentence = refused("import_data", path, "--symbol", "ACME", "--timeframe", "1h", *drop)
    assert "expected rows 1h apart, was a day apart; --timeframe 1d would fit" in sentence


def test_of_clocks_that_fit_alike_the_first_is_named(tmp_path):
    times = Market("America/New_York", ("08:00", "20:00")).opens(("2023-01-03", "2023-12-30"), 15)
    assert "--zone America/New_York reads them" in sentence(written(tmp_path, CLOCKS["wall"](times)), "15m")


def test_a_day_of_fewer_hours_may_be_unfinished_and_shows_no_clock(tmp_path):
    times = Market("America/New_York", ("07:00", "12:00")).opens(("2024-01-08", "2024-01-09"))
    path = written(tmp_path, CLOCKS["utc"](times))
    assert "expected times that show their clock, was 30 of 60 rows in sessions of XNYS by UTC" in sentence(path, "5m")
    table = FileSource(path=path, symbol="A", timeframe="5m", calendar="XNYS", zone="UTC").read()
    assert table.n_rows == len(times)
