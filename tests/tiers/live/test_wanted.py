"""Which of a venue's pairs are meant, where some or all of them are none of its."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from helios.errors import DataError, Transient
from tiers.live.feed import wanted
from trading.venues.base import Pair

BTC = Pair(code="BTCZAR", symbol="VALR:BTC-ZAR")
VENUE: Any = SimpleNamespace(name="VALR", pairs=lambda _: {BTC.symbol: BTC})


def test_what_books_want_of_a_venue_that_does_not_have_it_is_left_out_and_asked_for_again() -> None:
    assert wanted.pairs(VENUE, ["VALR:OLD-ZAR", BTC.symbol], strict=False) == [BTC]
    with pytest.raises(Transient, match=r"^VALR has none of VALR:OLD-ZAR, VALR:OLDER-ZAR$"):
        wanted.pairs(VENUE, ["VALR:OLD-ZAR", "VALR:OLDER-ZAR"], strict=False)


def test_what_a_person_wants_of_it_is_refused() -> None:
    with pytest.raises(DataError, match="--pairs must be pairs of VALR, such as VALR:BTC-ZAR; VALR:OLD-ZAR is none"):
        wanted.pairs(VENUE, [BTC.symbol, "VALR:OLD-ZAR"], strict=True)
