"""What an instrument is, how it is named, and what its market's hours decide."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tiers.live.book_params import params_of
from trading.books import write as books
from trading.market import instruments
from trading.models import Book, Instrument

pytestmark = pytest.mark.django_db


def book_of(symbols: list[str], timeframe: str = "1d", **options: Any) -> Book:
    money = {"initial_cash": Decimal(1_000), "fee_bps": Decimal(1), "slippage_bps": Decimal(0)}
    return books.create_book("desk", mode="paper", timeframe=timeframe, symbols=symbols, **money, **options)


@pytest.mark.parametrize(
    ("timeframe", "crypto", "stocks"),
    [("1m", 525_600, 98_280), ("5m", 105_120, 19_656), ("15m", 35_040, 6_552), ("1h", 8_760, 1_512), ("1d", 365, 252)],
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
        assert (params_of(book).risk.bars_per_year, params_of(book).risk.target_volatility) == (bars, target)
        books.remove_unused(book)


def test_it_is_the_calendar_and_no_name_that_says_whether_a_market_closes() -> None:
    instruments.ensure_instrument("BTC/USD", "crypto")
    assert not instruments.market_closes(["BTC/USD"])
    Instrument.objects.update(calendar="XNYS")
    assert instruments.market_closes(["BTC/USD"])
    assert instruments.market_closes(["NOBODY"])


def test_a_book_that_sets_one_figure_keeps_the_others_of_its_market() -> None:
    instruments.ensure_instrument("BTC/USD", "crypto")
    risk = params_of(book_of(["BTC/USD"], "5m", params={"risk": {"max_weight": 0.2}})).risk
    assert (risk.max_weight, risk.bars_per_year, risk.max_cvar) == (0.2, 105_120, 0.003536)
