"""Features that were made of a bar are forgotten when that bar changes: those, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from helios.db.partitions import ensure_partitions
from tests.support.market_bars import FIELDS, make_bars
from tiers.features.catalog import WINDOW_BARS
from tiers.live.inference import DEFAULT_RECEPTIVE_BARS
from trading.market import write as market
from trading.market.bars import Bars
from trading.market.timestamps import utc
from trading.models import EngineeredFeatures

pytestmark = pytest.mark.django_db
N, REACH, SHIPPED_REACH = 40, 10, market.FEATURE_REACH_BARS


@pytest.fixture(autouse=True)
def _short_reach(monkeypatch):
    monkeypatch.setattr(market, "FEATURE_REACH_BARS", REACH)


@pytest.fixture
def bars():
    made = make_bars(N, "A", "B", timeframe="1h")
    market.upsert_bars(made, "x")
    return made


def features_of(bars: Bars, timeframe: str = "1h") -> None:
    """A row of features for every bar."""
    ensure_partitions("engineered_features", "year", utc(bars.ts[0]), utc(bars.ts[-1]))
    EngineeredFeatures.objects.bulk_create(
        EngineeredFeatures(
            symbol=symbol, timeframe=timeframe, bar_ts=utc(ts), feature_set="base", version="1", values=[1.0]
        )
        for symbol in bars.symbols
        for ts in bars.ts
    )


def lost(bars: Bars, symbol: str, timeframe: str = "1h") -> list[int]:
    """The places of the bars whose features are gone."""
    kept = EngineeredFeatures.objects.filter(symbol=symbol, timeframe=timeframe).values_list("bar_ts", flat=True)
    left: set[datetime] = set(kept)
    return [place for place, ts in enumerate(bars.ts) if utc(ts) not in left]


def louder(bars: Bars, *rows: int, symbol: str = "A") -> Bars:
    """The same bars with another volume of one symbol in some rows."""
    volume = bars.volume.copy()
    volume[list(rows), bars.symbols.index(symbol)] += 1.0
    return replace(bars, volume=volume)


def test_a_correction_forgets_from_its_bar_through_its_reach_and_of_its_symbol_alone(bars):
    features_of(bars)
    features_of(bars, "1d")
    assert market.upsert_bars(louder(bars, 12), "x").corrected == 1
    assert lost(bars, "A") == list(range(12, 12 + REACH + 1))
    assert lost(bars, "B") == lost(bars, "A", "1d") == []


def test_several_corrections_are_forgotten_from_the_first_through_the_reach_of_the_last(bars):
    features_of(bars)
    market.upsert_bars(louder(louder(bars, 3, 5), 30, symbol="B"), "x")
    assert lost(bars, "A") == list(range(3, 5 + REACH + 1))
    assert lost(bars, "B") == list(range(30, N))


def test_a_corrected_longer_bar_forgets_features_of_the_shorter_ones_that_saw_it(bars):
    days = make_bars(15, "A", timeframe="1d")
    market.upsert_bars(days, "x")
    hours = [index for index, ts in enumerate(bars.ts) if ts >= days.ts[1]]
    features_of(bars)
    features_of(bars, "5m")
    market.upsert_bars(louder(days, 1), "x")
    assert hours
    assert lost(bars, "A") == lost(bars, "A", "5m") == hours
    assert lost(bars, "B") == []


def test_equal_bars_forget_nothing(bars):
    features_of(bars)
    market.upsert_bars(bars, "y")
    assert lost(bars, "A") == lost(bars, "B") == []


@pytest.mark.parametrize("beside_kept", [False, True], ids=["into a gap", "beside bars that are there"])
def test_a_bar_that_comes_late_is_in_the_features_of_those_behind_it(beside_kept):
    whole = make_bars(N, "A", "B", timeframe="1h")
    close = whole.close.copy()
    close[7, 0] = np.nan
    gone = replace(whole, close=close)
    market.upsert_bars(gone, "x")
    features_of(whole.rows(slice(8, N)))
    late = whole.rows(slice(7, 8))
    if not beside_kept:
        late = replace(late, symbols=("A",), **{name: getattr(late, name)[:, :1] for name in FIELDS})
    assert market.upsert_bars(late, "x").inserted == 1
    assert [place for place in lost(whole, "A") if place > 7] == list(range(8, 7 + REACH + 1))
    assert [place for place in lost(whole, "B") if place > 7] == []


def test_the_reach_covers_what_the_features_stage_looks_back():
    assert SHIPPED_REACH >= WINDOW_BARS + DEFAULT_RECEPTIVE_BARS


def test_a_volume_that_was_added_up_in_another_order_corrects_nothing(bars):
    features_of(bars)
    volume = bars.volume * (1 + 1e-15)
    assert (volume != bars.volume).any()
    assert market.upsert_bars(replace(bars, volume=volume), "x").corrected == 0
    assert lost(bars, "A") == []
    assert market.upsert_bars(replace(bars, volume=bars.volume * (1 + 1e-6)), "x").corrected == 2 * N
