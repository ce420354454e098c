"""A night over which a price changed as in a split is told where a file is described."""

from __future__ import annotations

import numpy as np
import pytest

from tiers.contracts import BarTable, calendar
from tiers.ingest.described import described
from tiers.ingest.prepare import prepare
from trading.market.bars import bar_table


def flat(prices: list[float], *, timeframe: str = "1d", name: str = "XNYS", first: str = "2020-08-24") -> BarTable:
    """Bars that each open and close at a price, from a day on."""
    hours = calendar(name)
    start = hours.index(timeframe, np.array([first], "datetime64[us]"))[0] + 1
    ts = hours.close_of(timeframe, np.arange(start, start + len(prices)))
    values = np.array(prices, float)
    return bar_table("AAPL", timeframe, ts, [values, values, values, values, np.ones(len(ts))])


def told(table: BarTable, name: str = "XNYS") -> str | None:
    return described(prepare(table, name, source="prices.csv")).get("splits")


@pytest.mark.parametrize(
    ("ratio", "split"),
    [
        (0.25, "4 for 1"),
        (0.2556, "4 for 1"),
        (0.2, "5 for 1"),
        (2 / 3, "1.5 for 1"),
        (10.05, "1 for 10"),
        (0.0496, "20 for 1"),
    ],
)
def test_a_night_of_a_usual_ratio_is_told_with_its_date(ratio: float, split: str) -> None:
    assert told(flat([100] * 5 + [100 * ratio] * 5)) == (
        f"2020-08-31 opens at {ratio:.4g} of the close before, which looks like a split of {split}; "
        "prices are stored as they stand"
    )


@pytest.mark.parametrize("ratio", [1, 0.8, 1.3, 0.6, 0.45, 2.2])
def test_any_other_night_is_none(ratio: float) -> None:
    assert told(flat([100] * 5 + [100 * ratio] * 5)) is None


def test_bars_within_days_tell_the_night_and_no_move_of_a_day() -> None:
    a_day = 7
    night, noon = ([100.0] * n + [25.0] * a_day for n in (2 * a_day, 2 * a_day + 3))
    assert str(told(flat(night, timeframe="1h"))).startswith("2020-08-26 opens at 0.25 of the close before")
    assert told(flat(noon, timeframe="1h")) is None


def test_a_price_after_weeks_without_bars_is_no_night() -> None:
    whole = flat([100.0] * 5 + [25.0] * 20)
    assert told(whole.take(np.r_[0:5, 15:25])) is None


def test_many_are_counted() -> None:
    said = str(told(flat([100.0 / 2**n for n in range(6)])))
    assert said.count("looks like a split of 2 for 1") == 3
    assert said.endswith("; 2 more; prices are stored as they stand")
