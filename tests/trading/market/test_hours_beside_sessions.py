"""Files of US stocks with hours before or after sessions: what their refusals name never stores a bar hours away."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from helios.errors import DataError
from tests.trading.market.test_data_commands import HEADER, refused, run
from tests.trading.market.test_hours_of_files import YEAR, Market, sentence
from trading.market import read as selectors
from trading.market.feeds.files import FileSource

SUMMER, WINTER = ("2023-06-01", "2023-08-01"), ("2023-01-03", "2023-03-01")
MINUTES = {"5m": 5, "15m": 15, "1h": 60}
LATE, SHORT, EARLY = ("09:30", "20:00"), ("08:00", "18:00"), ("04:00", "16:00")
TEXT = "%Y-%m-%d %H:%M"


def shown(zone: str) -> Callable[[pl.Series], pl.Series]:
    """The clock of a place, or the one that is seven hours ahead of New York's, as it stands on the wall."""
    if zone.endswith("+7"):
        return lambda times: times.dt.replace_time_zone(None).dt.offset_by("7h")
    return lambda times: times.dt.convert_time_zone(zone).dt.replace_time_zone(None)


def bars(hours: tuple[str, str], days: tuple[str, str], timeframe: str, part: float) -> pl.Series:
    """The opens of the bars of New York's days, of which a part is there."""
    opens = Market("America/New_York", hours).opens(days, MINUTES[timeframe])
    if timeframe == "1h":
        opens = opens.dt.truncate("1h").unique(maintain_order=True)
    return opens.filter(pl.Series(np.random.default_rng(0).random(len(opens)) < part))


def written(folder: Path, times: pl.Series) -> Path:
    path = folder / "prices.csv"
    rows = (f"{text},10,12,9,11,1\n" for text in times.dt.strftime(TEXT))
    path.write_text(HEADER.replace("ts", "time", 1) + "".join(rows))
    return path


def options(said: str) -> list[tuple[str, str]]:
    """The zone and what times name, of all the options that a refusal has."""
    listed = re.search(r"one of (--.*?)(, \.\.\.)? must say which", said) or re.search(r"; (--.*?)reads them", said)
    assert listed, said
    words = [dict(re.findall(r"--(zone|times) (\S+)", each)) for each in listed[1].split(", ")]
    return [(each.get("zone", ""), each.get("times", "")) for each in words]


@pytest.mark.parametrize(
    ("hours", "days", "timeframe", "zone", "names", "part"),
    [
        (LATE, SUMMER, "15m", "America/New_York", "open", 1),
        (LATE, WINTER, "1h", "America/New_York", "close", 1),
        (("07:00", "20:00"), SUMMER, "1h", "America/New_York", "close", 1),
        (SHORT, SUMMER, "5m", "America/New_York", "open", 1),
        (SHORT, YEAR, "5m", "America/New_York", "open", 1),
        (SHORT, YEAR, "1h", "America/New_York", "open", 1),
        (SHORT, WINTER, "1h", "UTC", "open", 0.6),
        (EARLY, WINTER, "1h", "UTC", "open", 0.6),
        (LATE, SUMMER, "1h", "UTC", "close", 0.6),
        (SHORT, YEAR, "5m", "UTC", "open", 1),
        (LATE, YEAR, "5m", "America/New_York+7", "close", 1),
        (LATE, YEAR, "1h", "America/New_York+7", "close", 1),
    ],
)
def test_the_options_of_a_refusal_have_the_right_one_and_no_single_one_is_wrong(
    tmp_path, hours, days, timeframe, zone, names, part
):
    opens = bars(hours, days, timeframe, part)
    closes = opens.dt.offset_by(timeframe)
    path = written(tmp_path, shown(zone)(opens if names == "open" else closes))
    right = closes.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_list()
    found = []
    for chosen, times in options(sentence(path, timeframe)):
        source = FileSource(
            path=path, symbol="A", timeframe=timeframe, calendar="XNYS", zone=chosen, times=times or None
        )
        found.append(source.read().ts.tolist() == right)
    assert any(found)
    assert all(found) or len(found) > 1


def test_a_thin_file_of_hours_that_several_clocks_explain_names_them_all(tmp_path):
    opens = bars(EARLY, WINTER, "1h", 0.6)
    said = sentence(written(tmp_path, shown("UTC")(opens)), "1h")
    assert "expected times that show their clock, was 261 rows that fit hours of XNYS in" in said
    assert {zone for zone, _ in options(said)} >= {"UTC", "America/New_York"}


def test_a_named_clock_that_moves_hours_beside_sessions_is_refused(tmp_path):
    path = written(tmp_path, shown("America/New_York")(bars(SHORT, YEAR, "1h", 1)))
    source = FileSource(path=path, symbol="A", timeframe="1h", calendar="XNYS", zone="America/Chicago", times="open")
    with pytest.raises(DataError, match="the clock of America/New_York fits"):
        source.read()


@pytest.mark.django_db
@pytest.mark.parametrize("hours", [("09:30", "16:00"), ("04:00", "20:00")])
@pytest.mark.parametrize("others", [(), ("--zone", "America/Chicago"), ("--zone", "Europe/London")])
def test_trades_by_another_clock_are_refused_and_read_by_their_own(tmp_path, hours, others):
    opens = Market("America/New_York", hours).opens(("2023-06-01", "2023-06-16"), 1)
    path = tmp_path / "trades.csv"
    rows = (
        f"{text}.{k % 7:03d},10,1\n" for k, text in enumerate(shown("America/New_York")(opens).dt.strftime("%F %T"))
    )
    path.write_text("time,price,size\n" + "".join(rows))
    words = ("import_data", path, "--symbol", "ACME", "--drop-invalid")
    told = refused(*words, *others)
    assert "trades.csv, column time: expected" in told
    assert ("the clock of America/New_York fits" if others else "--zone America/New_York reads them") in told
    run(*words, "--zone", "America/New_York")
    right = Market("America/New_York", ("09:30", "16:00")).opens(("2023-06-01", "2023-06-16"), 1)
    assert selectors.bar_range(["ACME"], "1m").ts.tolist() == (
        right.dt.offset_by("1m").dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_list()
    )


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["America/New_York", "America/Chicago", "Asia/Kolkata"])
def test_thin_hours_beside_sessions_that_show_no_clock_are_read_by_the_one_that_is_named(tmp_path, zone):
    """A stock that trades in each minute of the session, and in one of twenty of the hours from 8 to 18."""
    opens = Market("America/New_York", SHORT).opens(("2023-02-06", "2023-02-18"), 1)
    minute = opens.dt.hour().cast(pl.Int32) * 60 + opens.dt.minute()
    part = np.where((minute >= 570) & (minute < 960), 1, 0.05)
    closes = opens.filter(pl.Series(np.random.default_rng(0).random(len(opens)) < part)).dt.offset_by("1m")
    path = written(tmp_path, shown(zone)(closes))
    arguments = ("import_data", path, "--symbol", "ACME", "--timeframe", "1m", "--asset-class", "equity")
    assert "who knows that it is a US stock names its clock" in refused(*arguments)
    run(*arguments, "--zone", zone, "--times", "close", "--drop-invalid")
    stored = selectors.bar_range(["ACME"], "1m").ts
    assert np.isin(stored, closes.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()).all()
