"""`repair_data`: the bars that lack come back from the venue, and what it does not have is noted until it has it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from helios.env import get_env
from tests.support.commands import answered
from tests.support.venues.tape import taped
from tests.support.venues.valr import StandIn
from trading.market import gaps
from trading.models import MarketGap, MarketOHLC

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process", "no_pauses")]
START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = "20260105-20260105"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def venue() -> Any:
    """A day with a trade every three minutes."""
    rows = [(START + timedelta(minutes=3 * k, seconds=30), str(100 + k % 11), "0.5") for k in range(480)]
    with StandIn({("BTC", "ZAR"): taped(rows)}) as made:
        yield made


@pytest.fixture
def run(venue: StandIn, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HELIOS_VALR_URL", venue.url)
    get_env.cache_clear()

    def command(name: str, *words: str) -> dict[str, Any]:
        return answered(name, *words)["series"][0]

    return command


def bars() -> list[tuple[Any, ...]]:
    return list(
        MarketOHLC.objects.order_by("timeframe", "bar_ts").values_list("timeframe", "bar_ts", "open", "close", "volume")
    )


def spoiling(venue: StandIn, monkeypatch: pytest.MonkeyPatch, change: Any) -> Any:
    """The venue whose answers of bars are changed row by row; the function ends that."""
    right = venue.answer

    def answer(target: str, headers: Any) -> Any:
        status, found = right(target, headers)
        if "/buckets" not in target:
            return status, found
        return status, [new for row in found if (new := change(row, datetime.fromisoformat(row["startTime"])))]

    monkeypatch.setattr(venue, "answer", answer)
    return lambda: monkeypatch.setattr(venue, "answer", right)


def test_what_was_lost_comes_back_with_its_higher_bars(run: Any) -> None:
    run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)
    whole = bars()
    hole = START + timedelta(hours=3)
    lost = MarketOHLC.objects.filter(bar_ts__gt=hole, bar_ts__lte=hole + timedelta(hours=2))
    n_lost = lost.filter(timeframe="1m").count()
    lost.delete()
    row = run("repair_data")
    assert bars() == whole
    assert (row["symbol"], row["repaired"], row["gaps"]) == ("VALR:BTC-ZAR", n_lost, [])
    again = run("repair_data", "--pairs", "BTC/ZAR", "--timerange", DAY)
    assert (again["repaired"], again["lacked"], again["left"]) == (0, row["left"], row["left"])


def test_a_bar_that_no_market_has_is_left_out_and_noted_until_the_venue_mends_it(
    run: Any, venue: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = START + timedelta(hours=3, minutes=30)
    mend = spoiling(venue, monkeypatch, lambda row, start: row | {"high": "1"} if start == bad else row)
    got = run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)
    assert got["bad"] == 1
    assert "expected the highest price of its bar" in got["first_bad"]
    (gap,) = MarketGap.objects.all()
    assert (gap.after, gap.until) == (bad, bad + MINUTE)
    assert gap.reason.startswith("its bar broke a rule: expected the highest price")
    within = {"bar_ts__gt": bad, "bar_ts__lte": START + timedelta(hours=4)}
    names = MarketOHLC.objects.filter(**within).exclude(timeframe="1m").values_list("timeframe", flat=True)
    assert sorted(names) == ["15m"] + ["5m"] * 5  # not the 5m, the 15m and the 1h of which a minute is not known
    assert run("repair_data")["gaps"][0]["reason"] == gap.reason
    mend()
    assert run("repair_data")["repaired"] == 1
    assert not MarketGap.objects.exists()
    assert MarketOHLC.objects.filter(**within).exclude(timeframe="1m").count() == 6 + 2 + 1


@pytest.mark.parametrize("change", [{"low": "-1"}, {"high": "NaN"}, {"volume": None}, {"close": "ten"}, {"open": []}])
def test_a_bar_that_cannot_be_read_costs_no_other_one(
    run: Any, venue: StandIn, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    bad = START + timedelta(hours=3, minutes=30)
    spoiling(venue, monkeypatch, lambda row, start: row | change if start == bad else row)
    got = run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)
    assert (got["bad"], got["inserted"]) == (1, 479)
    assert MarketGap.objects.get().after == bad


def test_a_time_of_which_the_venue_tells_nothing_is_noted(
    run: Any, venue: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    since, until = START + timedelta(hours=5), START + timedelta(hours=7)
    run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)
    MarketOHLC.objects.filter(bar_ts__gt=since, bar_ts__lte=until).delete()
    spoiling(venue, monkeypatch, lambda row, start: None if since <= start < until else row)
    row = run("repair_data")
    assert (row["repaired"], row["lacked"]) == (0, row["left"])
    assert row["gaps"] == [
        {"after": since.isoformat(), "until": until.isoformat(), "reason": "VALR tells nothing of it"}
    ]


def test_a_gap_that_is_filled_in_part_is_noted_for_the_rest() -> None:
    hours = [START + timedelta(hours=n) for n in range(6)]
    gaps.note("A", "1m", hours[1], hours[5], [gaps.Gap(after=hours[1], until=hours[5], reason="silent")])
    gaps.note("A", "1m", hours[2], hours[3], [])
    spans = MarketGap.objects.order_by("after").values_list("after", "until")
    assert list(spans) == [(hours[1], hours[2]), (hours[3], hours[5])]
    gaps.note("A", "1m", hours[0], hours[5], [])
    assert not MarketGap.objects.exists()


def test_a_venue_corrects_the_first_and_the_last_minute_that_it_is_asked_for(
    run: Any, venue: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)
    n = MarketOHLC.objects.filter(timeframe="1m").count()
    spoiling(venue, monkeypatch, lambda row, start: row | {"volume": "0.25"} if float(row["volume"]) else row)
    assert run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)["corrected"] == n
    assert not MarketOHLC.objects.filter(timeframe="1m").exclude(volume=0.25).exists()


def test_what_is_asked_wrongly_is_one_sentence(run: Any) -> None:
    run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)
    with pytest.raises(
        CommandError, match="--pairs must be pairs of VALR, such as VALR:BTC-ZAR; VALR:DOGE-ZAR is none"
    ):
        run("repair_data", "--pairs", "DOGE-ZAR")
    with pytest.raises(CommandError, match="--timerange must be like"):
        run("repair_data", "--timerange", "2026")


def test_of_an_hour_that_is_stored_in_part_what_lacks_is_noted_where_the_venue_tells_nothing(
    run: Any, venue: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    since, until = START + timedelta(hours=5, minutes=10), START + timedelta(hours=5, minutes=15)
    minutes = [(START + timedelta(minutes=k, seconds=30), "100", "0.5") for k in range(1_440)]
    venue.tapes["BTCZAR"] = taped(minutes)
    run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)
    MarketOHLC.objects.filter(bar_ts__gt=since, bar_ts__lte=until).delete()
    spoiling(venue, monkeypatch, lambda *_: None)
    row = run("repair_data")
    assert (row["repaired"], row["lacked"], row["left"]) == (0, 5, 5)
    assert [(gap["after"], gap["until"]) for gap in row["gaps"]] == [(since.isoformat(), until.isoformat())]
    assert run("download_data", "--pairs", "BTC-ZAR", "--timerange", DAY)["silent"] == [
        [since.isoformat(), until.isoformat()]
    ]


def test_an_answer_that_is_no_good_keeps_no_other_series_from_being_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(START + timedelta(minutes=3 * k, seconds=30), "100", "0.5") for k in range(480)]
    lost = [START + timedelta(minutes=61), START + timedelta(minutes=601)]
    with StandIn({("BTC", "ZAR"): taped(rows), ("ETH", "ZAR"): taped(rows)}) as venue:
        monkeypatch.setenv("HELIOS_VALR_URL", venue.url)
        get_env.cache_clear()
        answered("download_data", "--pairs", "BTC-ZAR", "ETH-ZAR", "--timerange", DAY)
        MarketOHLC.objects.filter(timeframe="1m", bar_ts__in=lost).delete()
        of_btc = '"BTCZAR", "bucketPeriodInSeconds": 60, "startTime": "'
        venue.misdate(f"{of_btc}2026", f"{of_btc}2126")
        with pytest.raises(
            CommandError, match=r"^1 series not repaired to the end: VALR:BTC-ZAR 1m: VALR must tell bars"
        ):
            answered("repair_data")
    left = MarketOHLC.objects.filter(timeframe="1m", bar_ts__in=lost).values_list("symbol", flat=True)
    assert [*left] == ["VALR:ETH-ZAR"] * 2
