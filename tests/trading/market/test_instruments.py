"""What an instrument is, how it is named, and what its market's hours decide."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from helios.errors import DataError, Rejected
from tests.support.live_market import make_bars
from tiers.live.book_params import params_of
from trading.books import write as books
from trading.market import instruments, read, write
from trading.market.bars import Bars
from trading.models import Book, Instrument

pytestmark = pytest.mark.django_db


def book_of(symbols: list[str], timeframe: str = "1d", **options: Any) -> Book:
    money = {"initial_cash": Decimal(1_000), "fee_bps": Decimal(1), "slippage_bps": Decimal(0)}
    return books.create_book("desk", mode="paper", timeframe=timeframe, symbols=symbols, **money, **options)


@pytest.mark.parametrize(
    ("timeframe", "crypto", "stocks"),
    [("1m", 525_600, 98_280), ("5m", 105_120, 19_656), ("15m", 35_040, 6_552), ("1h", 8_760, 1_764), ("1d", 365, 252)],
)
def test_the_year_of_a_book_has_the_hours_of_its_markets(timeframe: str, crypto: int, stocks: int) -> None:
    instruments.ensure_instrument("BTC/USD", "crypto")
    instruments.ensure_instrument("AAPL", "equity")
    for symbols, bars, target in (
        (["BTC/USD"], crypto, 0.3),
        (["AAPL"], stocks, 0.15),
        (["AAPL", "BTC/USD"], stocks, 0.15),
    ):
        book = book_of(symbols, timeframe)
        risk = params_of(book).risk
        assert (risk.bars_per_year, risk.target_volatility) == (bars, target)
        assert risk.own_bars_per_year == ({"BTC/USD": crypto} if len(symbols) == 2 else {})
        books.remove_unused(book)


@pytest.mark.parametrize(
    ("symbols", "currency"),
    [
        ("AAPL BTC-USDT ETH/USD", "USD"),
        ("VALR:BTC-ZAR LUNO:ETHZAR", "ZAR"),
        ("AAPL 0700.HK", ""),
        ("AAPL XJSE:NPN", ""),
        ("BTC-PERP ETH-PERP", ""),
    ],
)
def test_what_is_held_together_is_counted_in_one_currency(symbols: str, currency: str) -> None:
    for symbol in symbols.split():
        pair = any(sign in symbol for sign in "-/") or symbol.endswith("ZAR")
        instruments.ensure_instrument(symbol, "crypto" if pair else "equity")
    assert instruments.currency(symbols.split(), instruments.named(symbols.split())) == currency
    assert book_of(symbols.split()).symbols == sorted(symbols.split())


def test_a_book_adds_up_no_different_currencies() -> None:
    symbols = ["AAA-USDT", "VALR:BTC-ZAR", "ETH-BTC", "BTC-PERP"]
    for symbol in symbols:
        instruments.ensure_instrument(symbol, "crypto")
    with pytest.raises(DataError, match=r"added up, were AAA-USDT in USD, VALR:BTC-ZAR in ZAR, ETH-BTC in BTC$"):
        book_of(symbols)
    assert not Book.objects.exists()


def test_it_is_the_calendar_and_no_name_that_says_whether_a_market_closes() -> None:
    instruments.ensure_instrument("BTC/USD", "crypto")
    assert not instruments.market_closes(["BTC/USD"], instruments.named(["BTC/USD"]))
    Instrument.objects.update(calendar="XNYS")
    assert instruments.market_closes(["BTC/USD"], instruments.named(["BTC/USD"]))
    assert instruments.market_closes(["NOBODY"], instruments.named(["NOBODY"]))


def test_a_book_that_sets_one_figure_keeps_the_others_of_its_market() -> None:
    instruments.ensure_instrument("BTC/USD", "crypto")
    risk = params_of(book_of(["BTC/USD"], "5m", params={"risk": {"max_weight": 0.2}})).risk
    assert (risk.max_weight, risk.bars_per_year, risk.max_cvar) == (0.2, 105_120, 0.003536)


@pytest.mark.parametrize("timeframe", ["1m", "1d"])
def test_the_optimiser_of_a_book_believes_what_its_venue_charges(timeframe: str) -> None:
    instruments.ensure_instrument("AAPL", "equity")
    book = book_of(["AAPL"], timeframe)
    book.fee_bps, book.slippage_bps = Decimal("2.5"), Decimal(4)
    assert params_of(book).portfolio.cost_bps == 6.5


# --- venues ---


def bars_of(*symbols: str, seed: int = 1) -> Bars:
    return make_bars(symbols, n_bars=5, seed=seed)


def test_an_instrument_is_a_symbol_at_a_venue() -> None:
    for name in ("VALR:BTC-ZAR", "BTC-ZAR"):
        instruments.ensure_instrument(name, "crypto")
    assert list(Instrument.objects.values_list("symbol", "venue")) == [("BTC-ZAR", ""), ("VALR:BTC-ZAR", "VALR")]


def test_two_venues_never_overwrite_each_other() -> None:
    valr, luno = bars_of("VALR:BTC-ZAR", seed=1), bars_of("LUNO:BTC-ZAR", seed=2)
    for bars in (valr, luno, valr):
        assert write.upsert_bars(bars, source="test").corrected == 0
    for bars in (valr, luno):
        np.testing.assert_array_equal(read.bar_range(bars.symbols, "1d").close, bars.close)


def test_a_bare_symbol_is_enough_where_one_venue_has_it() -> None:
    instruments.ensure_instrument("VALR:BTC-ZAR", "crypto")
    assert instruments.listed("BTC-ZAR, VALR:BTC-ZAR") == ("VALR:BTC-ZAR",)
    assert book_of(["BTC-ZAR"]).symbols == ["VALR:BTC-ZAR"]


def test_a_bare_symbol_that_two_venues_have_is_refused_with_both() -> None:
    for name in ("VALR:BTC-ZAR", "LUNO:BTC-ZAR", "LUNO:ETH-ZAR"):
        instruments.ensure_instrument(name, "crypto")
    with pytest.raises(DataError, match=r"BTC-ZAR must be named with its venue, .* LUNO:BTC-ZAR, VALR:BTC-ZAR$"):
        instruments.listed("ETH-ZAR,BTC-ZAR")
    with pytest.raises(DataError, match="must be named with its venue"):
        book_of(["BTC-ZAR"])
    assert book_of(["VALR:BTC-ZAR", "LUNO:BTC-ZAR"]).symbols == ["LUNO:BTC-ZAR", "VALR:BTC-ZAR"]


def test_a_name_that_is_stored_as_it_stands_means_that_instrument_whatever_comes_later() -> None:
    for name in ("AAPL", "XNAS:AAPL", "XLON:AAPL"):
        instruments.ensure_instrument(name, "equity")
    assert instruments.listed("AAPL") == ("AAPL",)


def test_a_symbol_that_nobody_has_is_left_to_be_refused_as_unknown() -> None:
    instruments.ensure_instrument("VALR:BTC-ZAR", "crypto")
    assert instruments.listed("TC-ZAR,LUNO:BTC-ZAR") == ("TC-ZAR", "LUNO:BTC-ZAR")
    with pytest.raises(Rejected, match="a book needs known symbols, unknown: LUNO:BTC-ZAR"):
        book_of(["LUNO:BTC-ZAR"])
