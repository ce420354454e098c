"""From a file of one's own to the figures of buy and hold: each value follows from the prices by hand."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support.commands import answered, printed

pytestmark = pytest.mark.django_db
FIRST = date(2024, 12, 9)


def file_of(path: Path, *, weekends: bool) -> Path:
    """Two weeks of a coin that opens at 110,000 and gains 1,000 a day."""
    rows = []
    for place in range(14):
        day, low = FIRST + timedelta(days=place), 110_000 + 1_000 * place
        if weekends or day.weekday() < 5:
            rows.append(f"{day},{low},{low + 1_000},{low},{low + 1_000},3\n")
    path.write_text("Date,Open,High,Low,Close,Volume\n" + "".join(rows))
    return path


def held(last_close: float) -> tuple[float, float]:
    """Total return in percent and the fee of 100,000 in cash, bought at the second open for 2 and 5 bps more."""
    quantity = 100_000 / (111_000 * 1.0002 * 1.0005)
    return 100 * (quantity * last_close / 100_000 - 1), quantity * 111_000 * 1.0002 * 0.0005


def backtest(symbol: str) -> dict:
    found: dict = answered("backtest", "--strategy", "buy_and_hold", "--symbols", symbol)
    return found


def test_a_coin_is_known_by_its_name_and_bought_in_parts(tmp_path: Path) -> None:
    printed(
        "import_data", str(file_of(tmp_path / "btc.csv", weekends=True)), "--symbol", "BTCUSDT", "--timeframe", "1d"
    )
    got = backtest("BTCUSDT")
    assert got["n_bars"] == 14
    assert (got["total_return_pct"], got["fees_paid"]) == pytest.approx(held(124_000), abs=0.005)
    assert (got["total_return_pct"], got["fees_paid"]) == pytest.approx((11.63, 49.98), abs=0.005)


def test_one_that_was_taken_for_a_stock_says_why_nothing_was_bought_and_can_be_corrected(tmp_path: Path) -> None:
    words = ("import_data", str(file_of(tmp_path / "btc.csv", weekends=False)), "--symbol", "KOIN", "--timeframe", "1d")
    printed(*words)
    got = backtest("KOIN")
    assert (got["total_return_pct"], got["n_bars"]) == (0.0, 10)
    why = "KOIN was not bought: its smallest lot, 1, cost 111,000.00 where 100,000.00 was meant for it."
    assert got["reasons"][0].startswith(why)
    printed(*words, "--asset-class", "crypto")
    got = backtest("KOIN")
    assert (got["total_return_pct"], got["fees_paid"]) == pytest.approx(held(122_000), abs=0.005)
    assert (got["total_return_pct"], got["fees_paid"]) == pytest.approx((9.83, 49.98), abs=0.005)
