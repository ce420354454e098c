"""`download_data` from an exchange through ccxt: a real market's bars, and what is not to be had there."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import ccxt
import polars as pl
import pytest
from django.core.management import CommandError, call_command

from tests.support.ingest_bars import needs
from tests.support.venues.binance import API, StandIn
from tests.support.xrp_eth import assert_stored
from trading.market import read as stored
from trading.models import Instrument, MarketOHLC
from trading.venues import rest

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process")]
RANGE = ("--timerange", "20191011-20191013")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "FIRST_PAUSE_S", 0.0)


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
        out = io.StringIO()
        call_command("download_data", "--exchange", "binance", *words, "--json", stdout=out)
        return {f"{row['symbol']} {row['timeframe']}": row for row in json.loads(out.getvalue())["series"]}

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
