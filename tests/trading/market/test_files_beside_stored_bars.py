"""Where a file meets what is stored of its symbol, the import tells what lacks, what jumps and what is left over."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from trading.market import read
from trading.market.calendars import calendar
from trading.models import Instrument

pytestmark = pytest.mark.django_db
N = 120
XNYS = calendar("XNYS")
DAYS = XNYS.close_of("1d", XNYS.index("1d", np.array(["2022-01-03"], "datetime64[us]"))[0] + 1 + np.arange(N))
CLOSE = 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.0, 0.01, N)))
HEADER = "{},open,high,low,close,volume"


@pytest.fixture
def days(tmp_path: Path) -> Any:
    """Import those of the days, at their prices times a factor; returns what was understood."""

    def imported(first: int, last: int, *words: str, factor: Any = 1.0) -> dict[str, str]:
        rows = [
            f"{str(DAYS[k])[:10]},{p:.4f},{1.01 * p:.4f},{0.99 * p:.4f},{p:.4f},1000"
            for k, p in enumerate(factor * CLOSE)
            if first <= k < last
        ]
        return run(tmp_path, [HEADER.format("date"), *rows], "ACME", "1d", *words)

    return imported


def run(folder: Path, lines: list[str], symbol: str, timeframe: str, *words: str) -> dict[str, str]:
    path, out = folder / "prices.csv", io.StringIO()
    path.write_text("\n".join(lines))
    call_command("import_data", str(path), "--symbol", symbol, "--timeframe", timeframe, *words, "--json", stdout=out)
    told: dict[str, str] = json.loads(out.getvalue().splitlines()[0])["understood"]
    return told


def test_a_split_between_two_files_is_told_whichever_comes_first(days: Any) -> None:
    assert "splits" not in days(60, N, factor=0.25)
    told = f"{str(DAYS[60])[:10]} opens at 0.25 of the close before, which looks like a split of 4 for 1"
    assert days(0, 60, "--dry-run")["splits"].startswith(told.replace("0.25", f"{CLOSE[60] / CLOSE[59] / 4:.4g}"))
    assert "looks like a split of 4 for 1" in days(0, 60)["splits"]
    assert "looks like a split of 4 for 1" in days(60, N, factor=0.25)["splits"]
    assert "for 1" not in days(60, N)["splits"]  # the prices go on
    assert "splits" not in days(60, N)


def test_a_file_that_adjusts_stored_bars_anew_says_by_which_factor_and_where_the_others_begin(days: Any) -> None:
    assert "splits" not in days(0, 80)
    assert "splits" not in days(70, N)  # the same bars again
    said = days(40, N, "--dry-run", factor=0.25)["splits"]
    assert "looks like a split of 4 for 1" in said
    told = "80 stored bars change by one factor, 0.25, as prices that were adjusted anew, and those before them stay as"
    assert told in said
    assert "80 stored bars change by one factor, 0.996, as" in days(40, N, "--dry-run", factor=0.996)["splits"]
    assert days(0, N, factor=0.25)["splits"].endswith(
        "as prices that were adjusted anew; prices are stored as they stand"
    )


def test_bars_that_are_corrected_by_factors_of_their_own_have_none_in_common(days: Any) -> None:
    days(0, 80)
    assert "splits" not in days(40, N, factor=np.linspace(0.99, 1.01, N))


def test_bars_that_lack_between_two_files_are_a_gap_of_either(days: Any) -> None:
    assert days(0, 40)["gaps"] == "none"
    assert days(60, N)["gaps"].startswith("20 bars are missing at")
    assert days(45, 50)["gaps"].startswith("2 with 15 bars missing; in the longest 10 bars are missing at")
    assert days(39, 61)["gaps"] == "none"


def test_a_hole_in_a_file_that_stored_bars_fill_is_none(days: Any) -> None:
    days(0, N)
    assert days(10, 20)["gaps"] == "none"


def test_bars_of_another_clock_are_told_until_they_are_replaced(tmp_path: Path) -> None:
    rows = [
        f"2023-01-{5 + k // 24:02d} {k % 24:02d}:00,{p:.4f},{1.01 * p:.4f},{0.99 * p:.4f},{p:.4f},{100 + k}"
        for k, p in enumerate(CLOSE)
    ]
    lines = [HEADER.format("time"), *rows]
    hours = lambda *words: run(tmp_path, lines, "HHH-USDT", "1h", *words)  # noqa: E731 - a short name for one file
    assert "left over" not in hours("--times", "close")
    assert "left over" not in hours("--times", "close")
    again = ("--times", "open", "--zone", "Etc/GMT+5")
    for words in (("--dry-run", *again), again):
        assert hours(*words)["left over"] == (
            "6 stored bars have the prices of this file at another time, the first at 2023-01-05 00:00 UTC: another "
            "clock named them; --replace removes all stored bars first"
        )
    assert "left over" in hours(*again)  # they stay
    Instrument.objects.update(min_notional=7)  # as a venue says it
    assert "left over" not in hours("--replace", *again)
    assert Instrument.objects.get().min_notional == 7
    stored = read.bar_range(["HHH-USDT"], "1h")
    assert stored.n_bars == N
    assert str(stored.ts[0]).startswith("2023-01-05T06:00")


def test_equal_prices_by_chance_are_not_left_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for day in (1, 2, 3):  # a price of three ticks, so that many a minute has the four prices of another one
        ticks = 13 + rng.integers(-1, 2, (1440, 4)) / 100
        rows = [
            f"2024-03-{day:02d} {k // 60:02d}:{k % 60:02d},{o:.2f},{max(o, h, c):.2f},{min(o, low, c):.2f},{c:.2f},{k}"
            for k, (o, h, low, c) in enumerate(ticks)
        ]
        rare = [f"2024-03-{day:02d} 12:{k:02d},{9 + k}.0,{9 + k}.5,{9 + k}.0,{9 + k}.5,1" for k in (7, 7 + 3 * day)]
        told = run(tmp_path, [HEADER.format("time"), *rows, *rare], "CCC-USDT", "1m", "--drop-invalid")
        assert "left over" not in told


def test_bars_that_are_replaced_take_the_lots_with_them_that_were_made_of_them(tmp_path: Path) -> None:
    for price, words in ((0.02, ()), (60_000, ("--replace",))):
        rows = [f"2024-03-01 {k:02d}:00,{price},{price},{price},{price},1" for k in range(24)]
        run(tmp_path, [HEADER.format("time"), *rows], "LOT-USDT", "1h", *words)
    assert Instrument.objects.get().quantity_step * 60_000 < 1
