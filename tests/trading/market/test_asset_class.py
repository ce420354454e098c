"""What kind of thing an instrument is taken for where nobody says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helios.errors import DataError
from tests.support.ingest_bars import random_bars
from trading import sample_data
from trading.market.asset_class import assumed, currency_of, quoted_in, runs_around_the_clock
from trading.market.feeds.files import table_from_frame
from trading.symbols import split

PLAIN = [
    "AAPL",
    "BRK.B",
    "BF-B",
    "BRK/B",
    "ACME/NOTE",
    "EUR/USD",
    "ES=F",
    "^GSPC",
    "0700.HK",
    "M&M.NS",
    "/ES",
    "USDT",
    "PERP",
    "EURUSD",
    "EUR-USD",
    "SEUR",
    "HYUNDAI",
    "NSE:HYUNDAI",
    "WMTUSD",  # not WM in TUSD
    "ABBUSD",
    "HAPPYUSD",
    "DAI",
    "USD",
]


@pytest.mark.parametrize(
    ("symbol", "quote"),
    [
        ("BTC-USDT", "USDT"),
        ("BTCUSDT", "USDT"),
        ("btc-usdt", "USDT"),
        ("BTC-PERP", "PERP"),
        ("BTC-USDT-SWAP", "SWAP"),
        ("LINK/USDT", "USDT"),
        ("BTC/USD", "USD"),
        ("BTC-ZAR", "ZAR"),
        ("BTCZAR", "ZAR"),
        ("ETHBTC", "BTC"),
        ("ETHDAI", "DAI"),
        ("PEPE-DAI", "DAI"),
        ("DOTUSD", "USD"),
        ("DOTTUSD", "TUSD"),
        ("BTCBUSD", "BUSD"),
        ("USDTZAR", "ZAR"),
        ("DAIUSD", "USD"),
        ("PEPEUSDT", "USDT"),
        ("PEPEFDUSD", "FDUSD"),
        ("EURUSDC", "USDC"),
        ("1000SHIB_USDC", "USDC"),
        *((symbol, "") for symbol in PLAIN),
    ],
)
def test_a_pair_of_coins_and_a_perpetual_are_known_by_their_ends(symbol: str, quote: str) -> None:
    assert quoted_in(split(symbol)[1]) == quote


@pytest.mark.parametrize(
    ("symbols", "currency"),
    [
        ("BTC/USD BTC-USDT BTCUSDC BTC-USDT-SWAP BTCUSDTPERP BTC-USD-241227 EURUSD EUR/USD GBPUSD=X", "USD"),
        ("BTC-ZAR BTCZAR USD/ZAR USDZAR=X", "ZAR"),
        ("ETH-BTC ETHBTC SOL/XBT", "BTC"),
        ("DOTUSD DOTTUSD ETHDAI PEPE-DAI PEPEUSDT USDTUSD", "USD"),
        ("AAPL BRK.B BF-B BRK/B ACME/NOTE BTC-PERP KOIN USDT /ES HYUNDAI WMTUSD ABBUSD DAI", ""),
    ],
)
def test_a_pair_names_the_currency_of_its_prices(symbols: str, currency: str) -> None:
    assert {symbol: currency_of(symbol) for symbol in symbols.split()} == dict.fromkeys(symbols.split(), currency)


@pytest.mark.parametrize(
    ("first", "n_bars", "timeframe", "shifted", "always"),
    [
        ("2024-01-06T12:00", 60, "1m", False, True),  # a Saturday's noon
        ("2024-01-09T03:00", 60, "1m", False, False),  # a Tuesday's night, or a session by another clock
        ("2024-01-09T00:00", 1440, "1m", False, True),  # the whole of a Tuesday
        ("2024-01-06T00:00", 420, "1m", False, False),  # a Friday's session, as Tokyo's clock shows it
        ("2024-01-09T15:00", 60, "1m", False, False),  # a Tuesday's session
        ("2024-01-09T09:00", 900, "1m", False, False),  # before and after it, as brokers record them
        ("2024-01-08T00:00", 24 * 9, "1h", False, True),
        ("2024-01-08T00:00", 9, "1d", False, True),
        ("2024-01-08T00:00", 5, "1d", False, False),  # Monday to Friday
        ("2024-01-09T00:00", 5, "1d", True, False),  # the same days, named by their opens before
        ("2024-01-08T00:00", 0, "1d", False, False),
    ],
)
def test_bars_at_night_and_on_weekends_are_those_of_a_market_that_never_closes(
    first: str, n_bars: int, timeframe: str, shifted: bool, always: bool
) -> None:
    bars = random_bars(n_bars, timeframe=timeframe, first=first)
    assert runs_around_the_clock(bars, shifted=shifted) is always


@pytest.mark.parametrize("symbol", ["BRK/B", "EUR/USD", "PEPE/WETH"])
@pytest.mark.parametrize(("weekends", "taken_for"), [(False, "equity"), (True, "crypto")])
def test_a_slash_alone_makes_no_coin_and_bars_on_weekends_do(symbol: str, weekends: bool, taken_for: str) -> None:
    days = np.arange("2024-01-01", "2025-01-01", dtype="datetime64[D]")  # a Monday first
    kept = days if weekends else days[np.is_busday(days)]
    bars = random_bars(len(kept), symbol=symbol, timeframe="1d")
    assert assumed(replace(bars, ts=kept.astype("datetime64[us]"))).asset_class == taken_for


WEEKDAYS = np.arange("2023-01-02", "2023-03-27", dtype="datetime64[D]")
WEEKDAYS = WEEKDAYS[np.is_busday(WEEKDAYS)].astype("datetime64[us]")


@pytest.mark.parametrize("symbol", ["AAPL-USD", "SPY_USD", "XAU/USD", "ACMEUSDT", "ES-PERP"])
def test_bars_without_weekends_contradict_a_name_like_a_coins(symbol: str) -> None:
    bars = random_bars(len(WEEKDAYS), symbol=symbol, timeframe="1d")
    with pytest.raises(DataError, match=f"{symbol} must have .* had none on Saturdays and Sundays; --asset-class says"):
        assumed(replace(bars, ts=WEEKDAYS))
    assert assumed(replace(bars, ts=WEEKDAYS).take(np.arange(len(WEEKDAYS)) < 15)).asset_class == "crypto"


@pytest.mark.parametrize("symbol", ["BTC/USD", "ETHUSDT", "BTC-PERP"])
def test_a_coin_that_everybody_knows_stays_one_with_a_word(symbol: str) -> None:
    bars = replace(random_bars(len(WEEKDAYS), symbol=symbol, timeframe="1d"), ts=WEEKDAYS)
    found = assumed(bars)
    assert found.asset_class == "crypto"
    assert found.because.endswith(", though it has no bar on Saturdays and Sundays")


def test_days_on_saturdays_without_mondays_make_no_coin() -> None:
    bars = random_bars(len(WEEKDAYS), symbol="ACME", timeframe="1d")
    assert assumed(replace(bars, ts=WEEKDAYS + np.timedelta64(1, "D"))).asset_class == "equity"


def test_a_stray_row_makes_no_coin_of_a_stock() -> None:
    minutes = random_bars(300, first="2024-01-09T15:00")
    stray = np.append(minutes.ts[:-1], np.datetime64("2024-01-13T15:00", "us"))
    assert assumed(replace(minutes, ts=stray)).asset_class == "equity"


@pytest.mark.parametrize("dataset", sample_data.catalogue(), ids=lambda each: each.file)
def test_the_bundled_data_are_taken_for_what_they_are(dataset: sample_data.Dataset) -> None:
    table = table_from_frame("X", dataset.timeframe, sample_data.load(dataset.symbol, dataset.timeframe))
    assert assumed(table).asset_class == dataset.asset_class
