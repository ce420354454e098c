"""Missing stays missing, nothing is infinite, each symbol stands alone, and the future does not count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.support.feature_markets import FIELDS, random_walk
from tests.support.feature_samples import bars_from, chosen, column, hard_cases, own_rows, with_holes
from tiers.contracts import Bars, FloatArray
from tiers.features import catalog
from tiers.features.compute import compute

HARD = hard_cases()
VOLUME_NAMES = [feature.name for feature in catalog.FEATURES if feature.group == "volume"]
OTHER_NAMES = [feature.name for feature in catalog.FEATURES if feature.group != "volume"]


def steps(low: float, high: float) -> st.SearchStrategy[FloatArray]:
    return arrays.arrays(np.float64, (150,), elements=st.floats(low, high, width=16) | st.sampled_from([0.0, 0.01]))


@st.composite
def any_bars(draw: st.DrawFn) -> Bars:
    """Bars with stretches that stand still, steady growth, jumps, hours without trade."""
    close = 50.0 * np.exp(np.cumsum(draw(steps(-0.25, 0.25))))
    opened = close * np.exp(draw(steps(-0.125, 0.125)))
    high = np.maximum(opened, close) * np.exp(np.abs(draw(steps(0.0, 0.125))))
    low = np.minimum(opened, close) * np.exp(-np.abs(draw(steps(0.0, 0.125))))
    volume = draw(arrays.arrays(np.float64, (150,), elements=st.sampled_from([0.0, 1.0, 3.0, 1e9])))
    columns = {"open": opened, "high": high, "low": low, "volume": volume}
    return bars_from(close[:, None], **{name: values[:, None] for name, values in columns.items()})


@pytest.mark.parametrize("name", HARD)
def test_no_bars_are_so_hard_that_a_feature_is_infinite(name: str) -> None:
    bars = HARD[name]
    features = compute(bars)
    assert features.shape == (bars.n_bars, bars.n_symbols, len(catalog.NAMES))
    assert features.dtype == np.float64
    assert not np.isinf(features).any()


@given(any_bars())
def test_bounded_features_stay_in_their_bounds_and_all_stay_finite(bars: Bars) -> None:
    features = compute(bars)
    assert not np.isinf(features).any()
    for feature in catalog.FEATURES:
        (low, high), name = feature.bounds, feature.name
        values = column(features, name)
        known = values[~np.isnan(values)]
        assert ((known >= low - 1e-9) & (known <= high + 1e-9)).all(), name


def test_most_features_are_bounded() -> None:
    assert sum(np.isfinite(feature.bounds).all() for feature in catalog.FEATURES) >= 25


def test_moments_of_returns_without_visible_spread_are_missing_instead_of_rounding() -> None:
    features = compute(HARD["nearly steady growth"])
    assert np.isnan(column(features, "skew_60")).all()
    assert np.isnan(column(features, "kurtosis_60")).all()


def test_every_symbol_counts_its_own_bars_only() -> None:
    bars = random_walk(300, 5)
    holes = np.random.default_rng(2).random((300, 5)) < [0.0, 0.3, 0.7, 0.0, 0.3]
    holes[:, 4] = holes[:, 1]  # two symbols of one calendar
    holed = with_holes(bars, holes)
    features = compute(holed)
    for symbol in range(5):
        rows = own_rows(holed, symbol)
        np.testing.assert_array_equal(features[rows, symbol], compute(chosen(holed, rows, symbol))[:, 0])
        assert np.isnan(features[holes[:, symbol], symbol]).all()


def test_many_symbols_together_equal_each_one_alone() -> None:
    bars = random_walk(130, 200)
    features = compute(bars)
    for symbol in range(0, 200, 13):
        np.testing.assert_array_equal(features[:, symbol], compute(chosen(bars, slice(None), symbol))[:, 0])


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_row_with_an_impossible_price_counts_as_no_bar(field: str, value: float) -> None:
    bars = random_walk(100)
    spoilt = getattr(bars, field).copy()
    spoilt[40] = value
    features = compute(replace(bars, **{field: spoilt}))
    without = np.delete(np.arange(100), 40)
    assert np.isnan(features[40]).all()
    np.testing.assert_array_equal(features[without], compute(chosen(bars, without, 0)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_unknown_volume_reaches_only_volume_features_and_only_within_their_window(value: float) -> None:
    bars = random_walk(120)
    volume = bars.volume.copy()
    volume[60] = value
    features, whole = compute(replace(bars, volume=volume)), compute(bars)
    for name in OTHER_NAMES:
        np.testing.assert_array_equal(column(features, name), column(whole, name))
    for name in VOLUME_NAMES:
        np.testing.assert_array_equal(column(features, name)[:60], column(whole, name)[:60])
        np.testing.assert_array_equal(column(features, name)[80:], column(whole, name)[80:])
        assert np.isnan(column(features, name)[60]).all()


@pytest.mark.parametrize("t", [0, 1, 20, 66, 150, 218])
@pytest.mark.parametrize(
    "shock",
    [lambda values: values * 1e3, lambda values: values * 1e-3, lambda values: np.full_like(values, np.nan)],
    ids=["times 1000", "divided by 1000", "gone"],
)
def test_what_happens_after_a_bar_changes_no_bit_up_to_it(t: int, shock: Callable[[FloatArray], FloatArray]) -> None:
    bars = random_walk(220, 2)
    shocked = {
        name: np.concatenate([getattr(bars, name)[: t + 1], shock(getattr(bars, name)[t + 1 :])]) for name in FIELDS
    }
    before, after = compute(bars)[: t + 1], compute(replace(bars, **shocked))[: t + 1]
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("t", [0, 13, 14, 66, 150])
def test_a_history_that_ends_earlier_has_the_same_bits(t: int) -> None:
    bars = random_walk(220, 2)
    np.testing.assert_array_equal(compute(bars.rows(slice(t + 1))), compute(bars)[: t + 1])


def test_the_shock_is_felt_after_it_came() -> None:
    bars = random_walk(220)
    close = bars.close.copy()
    close[150] = bars.high[150]
    changed = compute(replace(bars, close=close))[150, 0] != compute(bars)[150, 0]
    moved = {name for name, differs in zip(catalog.NAMES, changed, strict=True) if differs}
    assert {"return_1", "rsi_14", "atr_14", "bollinger_z_20", "body_share", "vwap_gap_20", "skew_60"} <= moved


def test_the_same_bars_give_the_same_bits_and_are_left_as_they_were() -> None:
    bars = random_walk(200, 4)
    copies = {name: getattr(bars, name).copy() for name in FIELDS}
    first, again = compute(bars), compute(bars)
    assert first.tobytes() == again.tobytes()
    for name, copy in copies.items():
        np.testing.assert_array_equal(getattr(bars, name), copy)


def test_the_order_of_memory_does_not_matter() -> None:
    bars = random_walk(150, 3)
    fortran = replace(bars, **{name: np.asfortranarray(getattr(bars, name)) for name in FIELDS})
    np.testing.assert_array_equal(compute(fortran), compute(bars))
