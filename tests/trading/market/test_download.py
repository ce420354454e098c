"""`download_data` against a stand-in venue: its minutes, the higher bars, going on, and a venue that fails half-way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from helios.env import get_env
from tests.support.commands import answered
from tests.support.venues.tape import Tape, taped
from tests.support.venues.valr import StandIn
from tests.support.xrp_eth import assert_stored, real_tape
from tiers.live.feed import repair
from trading.models import Instrument, MarketOHLC
from trading.venues.valr.client import Client
from trading.venues.valr.market import Market

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process", "no_pauses")]
START = datetime(2026, 1, 5, tzinfo=UTC)


def run(venue: StandIn, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, dict[str, Any]]:
    monkeypatch.setenv("HELIOS_VALR_URL", venue.url)
    get_env.cache_clear()
    return {f"{row['symbol']} {row['timeframe']}": row for row in answered("download_data", *words)["series"]}


def two_days() -> Tape:
    """A trade every seven minutes, so that most minutes have none."""
    rows = [(START + timedelta(minutes=7 * k, seconds=30), str(100 + k % 11), "0.5") for k in range(2 * 1440 // 7)]
    return taped(rows)


def test_a_range_is_stored_with_its_higher_bars_and_the_steps_of_the_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn({("BTC", "ZAR"): two_days()}, limited=False) as venue:
        got = run(venue, monkeypatch, "--pairs", "BTC/ZAR", "--timerange", "20260105-20260106")
        again = run(venue, monkeypatch, "--pairs", "VALR:BTC-ZAR", "--timerange", "20260105-20260106")
    assert {key: row["inserted"] for key, row in got.items()} == {
        "VALR:BTC-ZAR 1m": 411,
        "VALR:BTC-ZAR 5m": 411,
        "VALR:BTC-ZAR 15m": 192,
        "VALR:BTC-ZAR 1h": 48,
    }
    assert {key: (row["inserted"], row["unchanged"]) for key, row in again.items()}["VALR:BTC-ZAR 1h"] == (0, 48)
    assert f"{Instrument.objects.get().quantity_step.normalize():f}" == "0.00000001"


def test_a_download_that_failed_half_way_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--pairs", "BTC-ZAR", "--timerange")
    with StandIn({("BTC", "ZAR"): two_days()}) as venue:
        right = venue.answer
        monkeypatch.setattr(venue, "answer", lambda *asked: right(*asked) if venue.asked.total() < 9 else (500, b""))
        with pytest.raises(CommandError, match="with status 500"):
            run(venue, monkeypatch, *words, "20260105-20260106")
        assert MarketOHLC.objects.filter(timeframe="1m").count() == 206  # the whole first day
        monkeypatch.setattr(venue, "answer", right)
        monkeypatch.setattr("django.utils.timezone.now", lambda: START + timedelta(days=2, seconds=30))
        got = run(venue, monkeypatch, "--pairs", "BTC-ZAR")
    assert got["VALR:BTC-ZAR 1m"]["inserted"] == 205
    assert MarketOHLC.objects.filter(timeframe="1m").count() == 411
    assert MarketOHLC.objects.filter(timeframe="1h").count() == 48


def test_no_day_lacks_where_one_request_ends_and_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [START - timedelta(days=1_200 - k) for k in range(1_200)]
    monkeypatch.setattr("django.utils.timezone.now", lambda: START + timedelta(hours=6, minutes=10))
    with StandIn({("BTC", "ZAR"): taped((day + timedelta(hours=9), "100", "1") for day in days)}) as venue:
        got = run(venue, monkeypatch, "--pairs", "BTC-ZAR", "--timeframes", "1d", "--days", "1199")
        again = run(venue, monkeypatch, "--pairs", "BTC-ZAR", "--timeframes", "1d")
    assert got["VALR:BTC-ZAR 1d"]["inserted"] == 1_199
    assert again["VALR:BTC-ZAR 1d"]["unchanged"] == 1  # the last day, which venues correct for a while


@pytest.mark.parametrize(("timeframes", "n_stored"), [("1m", 4), ("1d", 0)])
def test_a_bar_that_still_forms_is_not_stored(monkeypatch: pytest.MonkeyPatch, timeframes: str, n_stored: int) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: START + timedelta(minutes=28, seconds=40))
    with StandIn({("BTC", "ZAR"): two_days()}) as venue:  # trades 0.5, 7.5, 14.5, 21.5 and 28.5 minutes after midnight
        run(venue, monkeypatch, "--pairs", "BTC-ZAR", "--timerange", "20260105-20260105", "--timeframes", timeframes)
    closes = MarketOHLC.objects.filter(timeframe=timeframes).order_by("bar_ts").values_list("bar_ts", flat=True)
    assert [*closes] == [START + timedelta(minutes=minutes) for minutes in (1, 8, 15, 22)][:n_stored]


@pytest.mark.parametrize("minute", [21, 22])  # in which somebody traded, and nobody
def test_an_answer_with_a_bar_of_a_time_to_come_is_refused_and_nothing_of_it_stored(
    monkeypatch: pytest.MonkeyPatch, minute: int
) -> None:
    """It may be that of any minute: without it the hour would be made as if nobody had traded then."""
    with StandIn({("BTC", "ZAR"): two_days()}, limited=False) as venue:
        venue.misdate(f"2026-01-05T00:{minute}:00Z", f"2126-01-05T00:{minute}:00Z")
        with pytest.raises(CommandError, match=rf"have come, was one that ends at 2126-01-05 00:{minute + 1} UTC$"):
            run(venue, monkeypatch, "--pairs", "BTC-ZAR", "--timerange", "20260105-20260106")
    assert not MarketOHLC.objects.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--pairs", "DOGE-ZAR"), "--pairs must be pairs of VALR, such as VALR:BTC-ZAR; VALR:DOGE-ZAR is none"),
        (("--pairs", "BTC ZAR"), "a symbol must be 1 to 32 letters"),
        (("--pairs", "BTC-ZAR", "--days", "0"), "--days must be 1 to 20000, was 0"),
        (("--pairs", "BTC-ZAR", "--timerange", "2026"), "--timerange must be like"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence_and_stores_nothing(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    with StandIn({("BTC", "ZAR"): two_days()}) as venue, pytest.raises(CommandError, match=told):
        run(venue, monkeypatch, *words)
    assert not MarketOHLC.objects.exists()


def test_a_real_market_that_was_traded_there_gives_its_files_of_bars_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn({("XRP", "ETH"): real_tape()}) as venue:
        run(venue, monkeypatch, "--pairs", "XRP-ETH", "--timerange", "20191011-20191013")
    assert_stored("VALR:XRP-ETH")


def test_a_minute_that_has_not_reached_the_answers_yet_is_not_taken_for_one_without_a_trade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tape, until = two_days(), START + timedelta(hours=1)
    with StandIn({("BTC", "ZAR"): tape}) as venue, Client(venue.url) as client:
        pair = Market(client).pairs([])["VALR:BTC-ZAR"]
        whole = venue.answer
        behind = until - timedelta(minutes=5)
        monkeypatch.setattr(venue, "answer", lambda *asked: _before(behind, whole(*asked)))
        late = repair.fetch(Market(client), pair, START, until, now=until)
        assert late.until == behind
        assert not MarketOHLC.objects.filter(timeframe="1h").exists()
        assert repair.fetch(Market(client), pair, START, until, now=until + timedelta(minutes=10)).until == until
        monkeypatch.setattr(venue, "answer", whole)
        assert repair.fetch(Market(client), pair, START, until, now=until).until == until
    assert MarketOHLC.objects.filter(timeframe="1h").count() == 1


def _before(moment: datetime, answer: tuple[int, list[dict[str, Any]]]) -> tuple[int, list[dict[str, Any]]]:
    """An answer that minutes after a moment have not reached."""
    status, rows = answer
    return status, [row for row in rows if datetime.fromisoformat(row["startTime"]) < moment]
