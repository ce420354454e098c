"""`download_data` from a stand-in of Alpaca: a real stock's sessions, one of them short, and nothing beside them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError

from helios.env import get_env
from tests.support.commands import answered
from tests.support.us_minutes import goog_minutes
from tests.support.venues.alpaca import KEY_ID, SECRET, StandIn
from trading.market import read as stored
from trading.market.bars import FIELDS
from trading.market.calendars import NEW_YORK
from trading.models import Instrument, MarketOHLC

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process", "no_pauses")]
RANGE = ("--timerange", "20151223-20151224")
OPEN = datetime(2015, 12, 23, 9, 30, tzinfo=NEW_YORK)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    def download(venue: StandIn, *words: str, secret: str = SECRET) -> dict[str, dict[str, Any]]:
        settings = {"DATA_URL": venue.url, "KEY_ID": KEY_ID, "SECRET": secret}
        for name, value in settings.items():
            monkeypatch.setenv(f"HELIOS_ALPACA_{name}", value)
        get_env.cache_clear()
        rows = answered("download_data", "--exchange", "alpaca", *words)["series"]
        return {f"{row['symbol']} {row['timeframe']}": row for row in rows}

    return download


def in_session(start: datetime) -> bool:
    """By hand: the second day closed at one o'clock."""
    closes = timedelta(hours=16 if start.day == 23 else 13)
    of_day = start - start.replace(hour=0, minute=0)
    return timedelta(hours=9, minutes=30) <= of_day < closes


def is_session(day: datetime) -> bool:
    """By hand, of November and December 2015."""
    return day.weekday() < 5 and (day.month, day.day) not in {(11, 26), (12, 25)}


def test_a_real_stock_is_stored_minute_by_minute_of_its_sessions_and_the_rest_is_counted(run: Any) -> None:
    rows = goog_minutes()
    with StandIn({("GOOG", "1Min"): rows}, page=100) as venue:
        got = run(venue, "--pairs", "GOOG", *RANGE)
    expected = [row for row in rows if in_session(row[0])]
    assert got["ALPACA:GOOG 1m"] == {
        "symbol": "ALPACA:GOOG",
        "timeframe": "1m",
        "inserted": len(expected),
        "corrected": 0,
        "unchanged": 0,
        "outside": len(rows) - len(expected),
        "bad": 0,
        "first_bad": "",
        "silent": [],
    }
    found = stored.bar_range(["ALPACA:GOOG"], "1m")
    closes = [row[0] + timedelta(minutes=1) for row in expected]
    assert found.ts.tolist() == [close.astimezone(UTC).replace(tzinfo=None) for close in closes]
    for k, name in enumerate(FIELDS, 1):
        assert np.array_equal(getattr(found, name)[:, 0], [row[k] for row in expected]), name
    instrument = Instrument.objects.get()
    assert (instrument.asset_class, instrument.calendar) == ("equity", "XNYS")


def test_the_hours_of_a_stock_are_those_of_the_clock_the_first_and_the_last_cut_by_its_session(run: Any) -> None:
    rows = goog_minutes("20151224")
    with StandIn({("GOOG", "1Min"): rows}) as venue:
        run(venue, "--pairs", "GOOG", *RANGE)
    hours = stored.bar_range(["ALPACA:GOOG"], "1h")
    assert [f"{ts:%H:%M}" for ts in hours.ts.tolist()] == ["15:00", "16:00", "17:00", "18:00"]
    first = [row for row in rows if in_session(row[0])][:30]
    assert hours.high[0, 0] == max(row[2] for row in first)
    assert hours.volume[0, 0] == sum(row[5] for row in first)


def test_days_come_from_the_venue_where_they_are_asked_for(run: Any) -> None:
    days = [(OPEN.replace(hour=0, minute=0) + timedelta(days=k), 1.0 + k, 3.0 + k, 1.0, 2.0 + k, 7.0) for k in range(2)]
    with StandIn({("GOOG", "1Day"): days}) as venue:
        got = run(venue, "--pairs", "GOOG", *RANGE, "--timeframes", "1d")
        again = run(venue, "--pairs", "GOOG", *RANGE, "--timeframes", "1d")
    assert (got.keys(), got["ALPACA:GOOG 1d"]["inserted"]) == ({"ALPACA:GOOG 1d"}, 2)
    assert again["ALPACA:GOOG 1d"]["unchanged"] == 2
    assert [f"{ts:%d %H:%M}" for ts in stored.bar_range(["ALPACA:GOOG"], "1d").ts.tolist()] == ["23 21:00", "24 21:00"]


def test_days_that_lack_are_asked_for_again(run: Any) -> None:
    midnights = [OPEN.replace(month=11, day=1, hour=0, minute=0) + timedelta(days=k) for k in range(60)]
    days = [(day, 2.0, 3.0, 1.0, 2.0, 7.0) for day in midnights if is_session(day)]
    series = MarketOHLC.objects.filter(symbol="ALPACA:GOOG", timeframe="1d")
    with StandIn({("GOOG", "1Day"): days}) as venue:
        run(venue, "--pairs", "GOOG", "--timerange", "20151101-20151231", "--timeframes", "1d")
        whole = list(series.order_by("bar_ts").values_list("bar_ts", "close"))
        series.filter(
            bar_ts__gt=midnights[19], bar_ts__lt=midnights[34]
        ).delete()  # the half day behind Thanksgiving, too
        n_lost = len(whole) - series.count()
        venue.queries.clear()
        (row,) = answered("repair_data", "--exchange", "alpaca", "-t", "1d")["series"]
    assert list(series.order_by("bar_ts").values_list("bar_ts", "close")) == whole
    figures = {"timeframe": "1d", "lacked": n_lost, "repaired": n_lost, "left": 0, "gaps": []}
    assert row == {"symbol": "ALPACA:GOOG", **figures}
    assert n_lost == 10
    assert {query["timeframe"] for query in venue.queries} == {"1Day"}


@pytest.mark.parametrize(("timeframes", "n_stored"), [("1m", 30), ("1d", 0)])
def test_a_bar_that_still_forms_is_not_stored(
    run: Any, monkeypatch: pytest.MonkeyPatch, timeframes: str, n_stored: int
) -> None:
    day = (OPEN.replace(hour=0, minute=0), 2.0, 3.0, 1.0, 2.0, 7.0)
    monkeypatch.setattr("django.utils.timezone.now", lambda: OPEN + timedelta(minutes=30, seconds=40))
    with StandIn({("GOOG", "1Min"): goog_minutes("20151223"), ("GOOG", "1Day"): [day]}) as venue:
        run(venue, "--pairs", "GOOG", "--timerange", "20151223-20151223", "--timeframes", timeframes)
    closes = MarketOHLC.objects.filter(timeframe=timeframes).order_by("bar_ts").values_list("bar_ts", flat=True)
    assert [*closes] == [OPEN + timedelta(minutes=minute) for minute in range(1, n_stored + 1)]


@pytest.mark.parametrize(
    ("words", "secret", "sentence"),
    [
        (("--pairs", "GOOG", *RANGE), "wrong", "^Alpaca refused /v2/stocks/bars with status 403: forbidden.$"),
        (("--pairs", "GOOG/", *RANGE), SECRET, "must be pairs of ALPACA, such as ALPACA:AAPL, ALPACA:BTC/USD"),
        (("--pairs", "VALR:BTC-ZAR", *RANGE), SECRET, "VALR:BTC-ZAR is none"),
        (("--pairs", "MSFT", *RANGE), SECRET, "invalid symbol: MSFT"),
    ],
)
def test_what_is_refused_is_one_sentence_and_stores_nothing(
    run: Any, words: tuple[str, ...], secret: str, sentence: str
) -> None:
    with StandIn({("GOOG", "1Min"): goog_minutes()}) as venue, pytest.raises(CommandError, match=sentence):
        run(venue, *words, secret=secret)
    assert not MarketOHLC.objects.exists()
    assert not Instrument.objects.exists()


def test_a_bar_that_breaks_a_rule_is_left_out_and_told(run: Any) -> None:
    before, (start, open_, _, low, close, volume) = goog_minutes("20151223")[99:101]
    with StandIn({("GOOG", "1Min"): [before, (start, open_, low / 2, low, close, volume)]}) as venue:
        row = run(venue, "--pairs", "GOOG", *RANGE)["ALPACA:GOOG 1m"]
    assert (row["inserted"], row["bad"]) == (1, 1)
    assert row["first_bad"].startswith("ALPACA:GOOG ")
    assert "expected the highest price of its bar" in row["first_bad"]


def test_an_answer_with_a_bar_of_a_time_to_come_is_refused_and_nothing_of_it_stored(run: Any) -> None:
    with StandIn({("GOOG", "1Min"): goog_minutes("20151223")}) as venue:
        venue.misdate("2015-12-23T15:00:00Z", "2126-12-23T15:00:00Z")
        with pytest.raises(CommandError, match=r"have come, was one that ends at 2126-12-23 15:01 UTC$"):
            run(venue, "--pairs", "GOOG", *RANGE)
    assert not MarketOHLC.objects.exists()
