"""What is in a venue's answer, whichever venue it is."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from helios.errors import Transient
from trading.venues.answers import Answers

SAID = Answers("BYBIT")


@pytest.mark.parametrize(("value", "figure"), [("1.5", 1.5), (2, 2.0), ("0", 0.0), ("1e15", 1e15)])
def test_figures_of_a_market_are_read_from_numbers_and_texts(value: Any, figure: float) -> None:
    assert SAID.number({"high": value}, "high") == SAID.loose({"high": value}, "high") == figure


@pytest.mark.parametrize("value", ["-1", -0.5, "NaN", "sNaN", "1,5", "1e300", "1_000", "١٢", True, None, [], {}, "ten"])
def test_what_is_none_is_refused_but_of_a_bar_left_to_the_rules_of_bars(value: Any) -> None:
    with pytest.raises(Transient, match="BYBIT must tell high"):
        SAID.number({"high": value}, "high")
    assert math.isnan(SAID.loose({"high": value}, "high"))


@pytest.mark.parametrize("value", ["0.000000000000000001", "1e-64", "0", "1e15", 2.5, "7" * 15 + "." + "7" * 40])
def test_a_figure_is_kept_to_its_last_digit(value: Any) -> None:
    assert SAID.decimal({"bp": value}, "bp") == Decimal(str(value))


@pytest.mark.parametrize(
    "value", ["1e-200000000", "0e-200000000", "0." + "1" * 70, "1e16", "-1", "NaN", "1_000", "ten", None]
)
def test_a_figure_of_very_many_digits_is_none(value: Any) -> None:
    """However short it is told: written out it would take the memory of the process."""
    with pytest.raises(Transient, match="BYBIT must tell bp"):
        SAID.decimal({"bp": value}, "bp")
