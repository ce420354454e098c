"""`download_data` from an exchange through ccxt: a real market's bars, and what is not to be had there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import polars as pl
import pytest
from django.core.management import CommandError

from tests.support.commands import answered, printed
from tests.support.ingest_bars import needs
from tests.support.venues.binance import API, StandIn, told
from tests.support.xrp_eth import assert_stored
from trading.market import read as stored
from trading.models import Instrument, MarketGap, MarketOHLC
from trading.venues import rest

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process", "no_pauses")]
RANGE = ("--timerange", "20191011-20191013")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, with the exchange of ccxt at the address of the stand-in."""
    described = ccxt.binance.describe

    def download(venue: StandIn, *words: str) -> dict[str, dict[str, Any]]:
        def at_home(exchange: ccxt.binance) -> dict[str, Any]:
            found = described(exchange)
            found["urls"]["api"]["public"] = f"{venue.url}{API}"
            return found

        monkeypatch.setattr(ccxt.binance, "describe", at_home)
        rows = answered("download_data", "--exchange", "binance", *words)["series"]
        return {f"{row['symbol']} {row['timeframe']}": row for row in rows}

    return download


def real_bars() -> list[tuple]:
    frame = pl.read_ipc(needs("crypto", "freqtrade", "XRP_ETH-1m.feather"))
    return frame.select("date", "open", "high", "low", "close", "volume").rows()


def test_a_real_market_is_stored_with_the_higher_bars_that_others_made_of_it(run: Any) -> None:
    with StandIn({("XRP", "ETH", "1m"): real_bars()}) as venue:
        got = run(venue, "--pairs", "XRP/ETH", *RANGE)
        again = run(venue, "--pairs", "BINANCE:XRP/ETH", *RANGE)
    assert got["BINANCE:XRP/ETH 1m"]["inserted"] == len(real_bars())
    assert again["BINANCE:XRP/ETH 1m"]["unchanged"] == len(real_bars())
    assert_stored("BINANCE:XRP/ETH")
    assert f"{Instrument.objects.get().price_tick.normalize():f}" == "0.01"


def test_days_come_from_the_exchange(run: Any) -> None:
    days = [(datetime(2019, 10, day, tzinfo=UTC), 1.0, 2.0, 0.5, 1.5, 9.0) for day in range(9, 16)]
    with StandIn({("XRP", "ETH", "1d"): days}) as venue:
        got = run(venue, "--pairs", "XRP-ETH", *RANGE, "--timeframes", "1d")
    assert got["BINANCE:XRP/ETH 1d"]["inserted"] == 3
    closes = stored.bar_range(["BINANCE:XRP/ETH"], "1d").ts.tolist()
    assert closes == [datetime(2019, 10, 12) + timedelta(days=k) for k in range(3)]  # noqa: DTZ001 - as arrays hold them


def test_no_day_lacks_where_one_request_ends_and_the_next_begins(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime(2022, 10, 16, tzinfo=UTC)
    days = [(today - timedelta(days=2_300 - k), 1.0, 2.0, 0.5, 1.5, 9.0) for k in range(2_300)]
    monkeypatch.setattr("django.utils.timezone.now", lambda: today + timedelta(hours=6, minutes=10))
    with StandIn({("XRP", "ETH", "1d"): days}) as venue:
        got = run(venue, "--pairs", "XRP-ETH", "--days", "2299", "--timeframes", "1d")
    assert got["BINANCE:XRP/ETH 1d"]["inserted"] == 2_299


def test_an_hour_that_has_just_ended_with_a_quiet_minute_is_made(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full = datetime(2022, 10, 16, 6, tzinfo=UTC)
    rows = [(full - k * MINUTE, 1.5, 2.0, 0.5, 1.5, 9.0) for k in range(-40, 2_000) if k != 1]  # none ends at 6:00
    monkeypatch.setattr("django.utils.timezone.now", lambda: full + 9 * MINUTE)
    with StandIn({("XRP", "ETH", "1m"): rows}) as venue:
        run(venue, "--pairs", "XRP-ETH", "--days", "1")
    hours = stored.bar_range(["BINANCE:XRP/ETH"], "1h").ts.tolist()
    assert (len(hours), f"{hours[-1]:%d %H}") == (24, "16 06")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pairs", "DOGE/ETH"), "must be pairs of BINANCE, such as BINANCE:XRP/ETH; BINANCE:DOGE/ETH is none"),
        (("--pairs", "XRP/ETH", "--exchange", "binanse"), "was 'binanse'; near it are binance"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence_and_stores_nothing(
    run: Any, words: tuple[str, ...], sentence: str
) -> None:
    with StandIn({("XRP", "ETH", "1m"): real_bars()}) as venue, pytest.raises(CommandError, match=sentence):
        run(venue, *words, *RANGE)
    assert not MarketOHLC.objects.exists()


def test_an_exchange_that_fails_stores_nothing_of_its_day(run: Any) -> None:
    with StandIn({("XRP", "ETH", "1m"): real_bars()}) as venue:
        venue.faults.next("/klines", *[(502, b"")] * rest.TRIES)
        with pytest.raises(CommandError, match="BINANCE did not answer"):
            run(venue, "--pairs", "XRP/ETH", *RANGE)
    assert not MarketOHLC.objects.exists()


def test_an_answer_with_a_bar_of_a_time_to_come_is_refused_and_nothing_of_it_stored(run: Any) -> None:
    bars = real_bars()
    with StandIn({("XRP", "ETH", "1m"): bars}) as venue:
        venue.misdate(f"{bars[50][0].timestamp():.0f}000", "4923000000000")
        with pytest.raises(CommandError, match=r"have come, was one that ends at 2126-01-02 04:01 UTC$"):
            run(venue, "--pairs", "XRP/ETH", *RANGE)
    assert not MarketOHLC.objects.exists()


DAY = datetime(2026, 1, 5, tzinfo=UTC)
KEPT = 700  # bars, of a minute and a price of its own each


def tape(first: int, last: int, quiet: range = range(0)) -> list[tuple]:
    """The minutes first..last-1 since `DAY` by their beginnings; nobody trades in the `quiet` ones."""
    return [(DAY + k * MINUTE, 9.0 + k, 10.0 + k, 8.0 + k, 9.5 + k, 1.0) for k in range(first, last) if k not in quiet]


def gaps() -> list[tuple[datetime, datetime, str]]:
    return [*MarketGap.objects.filter(timeframe="1m").order_by("after").values_list("after", "until", "reason")]


def hour(close: datetime) -> tuple[float, float] | None:
    return MarketOHLC.objects.filter(timeframe="1h", bar_ts=close).values_list("open", "volume").first()


def test_of_an_exchange_that_keeps_its_newest_bars_no_higher_bar_is_made_of_a_part(run: Any) -> None:
    days = (
        ("--timerange", "20260105-20260105"),
        ("--timerange", "20260106-20260106"),
        ("--timerange", "20260105-20260106"),
    )
    rows, begins = [], []
    for k, span in enumerate(days):
        end = 1_440 * (k + 1)
        with StandIn({("BTC", "USDT", "1m"): tape(end - KEPT, end)}) as venue:
            rows.append(run(venue, "--pairs", "BTC/USDT", *span)["BINANCE:BTC/USDT 1m"])
        begins.append(DAY + (end - KEPT) * MINUTE)
    midnight = DAY + timedelta(days=1)
    silent = [[DAY.isoformat(), begins[0].isoformat()], [midnight.isoformat(), begins[1].isoformat()]]
    assert [row["silent"] for row in rows] == [silent[:1], silent[1:], silent]  # at last all but what is stored
    said = "BINANCE tells nothing of it"
    assert gaps() == [(DAY, begins[0], said), (midnight, begins[1], said)]
    seam = (begins[1] + timedelta(hours=1)).replace(minute=0)
    assert hour(seam) is None
    assert hour(seam + timedelta(hours=1)) == (9.0 + 1_440 + 13 * 60, 60.0)


def test_a_quiet_time_of_an_exchange_that_keeps_what_was_before_is_no_gap(run: Any) -> None:
    quiet = range(1_440, 1_440 + 50)
    with StandIn({("BTC", "USDT", "1m"): tape(0, 2_880, quiet)}) as venue:
        row = run(venue, "--pairs", "BTC/USDT", "--timerange", "20260106-20260106")["BINANCE:BTC/USDT 1m"]
    assert row["silent"] == gaps() == []
    assert hour(DAY + timedelta(hours=25)) == (9.0 + 1_490, 10.0)


def test_a_download_says_of_what_nothing_was_told(run: Any) -> None:
    with StandIn({("BTC", "USDT", "1m"): tape(4_320 - KEPT, 4_320)}) as venue:
        words = ("--pairs", "BTC/USDT", "--timerange", "20260105-20260107")
        run(venue, *words)
        said = printed("download_data", "--exchange", "binance", *words)
    assert "BINANCE tells nothing of 2026-01-05 00:00 to 2026-01-07 12:20 UTC, which is noted as a gap" in said


def test_the_answer_to_a_time_that_is_too_long_ago_is_no_end_of_a_download(run: Any) -> None:
    with StandIn({("BTC", "USDT", "1m"): tape(740, 1_440)}) as venue:
        refused = {"code": -1128, "msg": "too long ago"}
        venue.faults.next("/klines", (200, [told(row) for row in tape(740, 1_440)]), (400, refused))
        row = run(venue, "--pairs", "BTC/USDT", "--timerange", "20260105-20260105")["BINANCE:BTC/USDT 1m"]
    assert (row["inserted"], len(row["silent"])) == (700, 1)
