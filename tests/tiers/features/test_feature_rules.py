"""What every feature keeps to: the past alone, own bars, no scale, no infinity, the same live as in batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.feature_markets import FIELDS, bars_of, flat, random_walk, without
from tiers.contracts import Bars, FloatArray
from tiers.features import catalog
from tiers.features.compute import compute

VOLUME = [i for i, f in enumerate(catalog.FEATURES) if f.group == "volume"]
OTHER = [i for i, f in enumerate(catalog.FEATURES) if f.group != "volume"]


def column(values: FloatArray, name: str, symbol: int = 0) -> FloatArray:
    return values[:, symbol, catalog.NAMES.index(name)]


# --- the past alone ---


@pytest.mark.parametrize("row", [70, 150, 298])
def test_shocking_every_later_bar_changes_nothing_up_to_now(row: int):
    bars = random_walk(300, 2)
    shocked = {name: getattr(bars, name).copy() for name in FIELDS}
    for name, values in shocked.items():
        values[row + 1 :] *= 40.0 if name == "high" else 0.03 if name == "low" else 7.0
    np.testing.assert_array_equal(compute(bars)[: row + 1], compute(replace(bars, **shocked))[: row + 1])


def test_cutting_the_future_off_changes_nothing_in_the_past():
    bars = random_walk(300, 2)
    np.testing.assert_array_equal(compute(bars)[:200], compute(bars.rows(slice(0, 200))))


# --- live equals batch ---


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_last_row_of_a_live_window_equals_the_batch(seed: int):
    bars = random_walk(1500, 2, seed=seed)
    batch = compute(bars)
    for end in range(catalog.WINDOW_BARS + 60, 1501, 97):
        live = compute(bars.rows(slice(end - catalog.WINDOW_BARS, end)))[-1]
        np.testing.assert_allclose(live, batch[end - 1], rtol=0, atol=1e-9)


def test_live_window_equals_the_batch_after_a_crash_and_a_tenfold_calm():
    bars = random_walk(1400, seed=9)
    calm = np.where(np.arange(1400) < 700, 1.0, 0.1)[:, None]
    crash = np.where(np.arange(1400) >= 700, 0.5, 1.0)[:, None]
    fields = {n: 100 * (getattr(bars, n) / 100) ** calm * crash for n in ("open", "high", "low", "close")}
    bars = replace(bars, **fields)
    batch = compute(bars)
    for end in range(700 + catalog.WINDOW_BARS, 1400, 53):
        live = compute(bars.rows(slice(end - catalog.WINDOW_BARS, end)))[-1]
        np.testing.assert_allclose(live, batch[end - 1], rtol=0, atol=1e-9)


def test_shorter_history_than_the_window_gives_the_same_as_the_batch():
    bars = random_walk(120)
    np.testing.assert_array_equal(compute(bars.rows(slice(0, 90)))[-1], compute(bars)[89])


# --- own bars ---


def test_symbol_with_gaps_gets_the_features_of_its_own_bars():
    bars = random_walk(400, 3)
    gaps = [5, 100, 101, 102, 250]
    holed = without(bars, gaps, 1)
    keep = np.setdiff1d(np.arange(400), gaps)
    alone = Bars(
        timeframe=bars.timeframe,
        symbols=("S1",),
        ts=bars.ts[keep],
        **{name: getattr(bars, name)[keep, 1:2] for name in FIELDS},
    )
    values = compute(holed)
    np.testing.assert_array_equal(values[keep, 1], compute(alone)[:, 0])
    assert np.isnan(values[gaps, 1]).all()


def test_gaps_of_one_symbol_leave_the_others_alone():
    bars = random_walk(200, 3)
    np.testing.assert_array_equal(compute(without(bars, slice(20, 90), 1))[:, [0, 2]], compute(bars)[:, [0, 2]])


def test_symbol_that_is_listed_later_starts_its_own_warm_up():
    bars = without(random_walk(300, 2), slice(0, 120), 0)
    for feature in catalog.FEATURES:
        found = np.flatnonzero(np.isfinite(column(compute(bars), feature.name)))
        assert found[0] == 120 + feature.lookback, feature.name


def test_symbols_together_get_what_each_gets_alone():
    bars = random_walk(300, 5)
    together = compute(bars)
    for symbol in range(5):
        fields = {name: getattr(bars, name)[:, symbol : symbol + 1] for name in FIELDS}
        alone = compute(Bars(timeframe="1h", symbols=("X",), ts=bars.ts, **fields))
        np.testing.assert_allclose(together[:, symbol], alone[:, 0], rtol=0, atol=1e-12)


def test_bar_without_one_of_its_prices_is_no_bar():
    bars = random_walk(200)
    broken = replace(bars, high=np.where(np.arange(200)[:, None] == 150, np.nan, bars.high))
    np.testing.assert_array_equal(compute(broken), compute(without(bars, 150, 0)))


def test_symbol_without_any_bar_is_missing_throughout():
    values = compute(without(random_walk(100, 2), slice(None), 0))
    assert np.isnan(values[:, 0]).all()
    assert np.isfinite(values[-1, 1]).all()


@pytest.mark.parametrize("n_bars", [0, 1, 2, 5, 14, 30])
def test_history_shorter_than_the_lookbacks_is_missing_and_no_error(n_bars: int):
    bars = random_walk(max(n_bars, 1)).rows(slice(0, n_bars))
    values = compute(bars)
    assert values.shape == (n_bars, 1, len(catalog.NAMES))
    for feature in catalog.FEATURES:
        assert np.isnan(column(values, feature.name)[: feature.lookback]).all(), feature.name


# --- missing volume, still markets, zero ---


def test_unknown_volume_is_missing_only_in_volume_features_and_only_while_in_their_window():
    bars = random_walk(200)
    unknown = replace(bars, volume=np.where(np.arange(200)[:, None] == 100, np.nan, bars.volume))
    values, known = compute(unknown), compute(bars)
    np.testing.assert_array_equal(values[:, :, OTHER], known[:, :, OTHER])
    assert np.isnan(values[100, 0, VOLUME]).all()
    np.testing.assert_allclose(values[121:, :, VOLUME], known[121:, :, VOLUME], rtol=0, atol=1e-12)


def test_market_that_stands_still_gives_neutral_values_or_none():
    values = compute(flat(200))
    assert not np.isinf(values).any()
    for name in ("rsi_14", "stoch_k_14", "cci_20", "adx_14", "di_balance_14", "channel_55", "efficiency_20"):
        assert (column(values, name)[60:] == 0.0).all(), name
    for name in ("body_share", "upper_shadow", "lower_shadow", "bollinger_z_20", "trend_fit_20", "money_flow_20"):
        assert (column(values, name)[60:] == 0.0).all(), name
    for name in ("return_1", "macd_line", "ema_gap_10", "squeeze_20", "gap", "skew_60", "vwap_gap_20"):
        assert np.isnan(column(values, name)).all(), name
    assert (column(values, "downside_share_20")[60:] == 0.5).all()


@pytest.mark.parametrize("price", [0.1, 100.0, 65_432.1])
def test_still_stretch_after_a_lively_one_counts_as_still(price: float):
    lively = random_walk(200, price=price)
    last = float(lively.close[-1, 0])
    fields = {name: np.concatenate([getattr(lively, name)[:, 0], np.full(60, last)]) for name in FIELDS}
    values = compute(bars_of(*fields.values()))
    assert not np.isinf(values).any()
    for name in ("rsi_14", "stoch_k_14", "cci_20", "adx_14", "di_balance_14", "bollinger_z_20", "mfi_14"):
        assert column(values, name)[-1] == 0.0, name
    assert np.isnan(column(values, "ema_gap_26")[-1])


def test_no_trades_at_all_is_no_pressure():
    bars = replace(random_walk(120), volume=np.zeros((120, 1)))
    values = compute(bars)
    for name in ("relative_volume_20", "volume_trend_5_20", "mfi_14", "signed_volume_20", "money_flow_20"):
        assert (column(values, name)[20:] == 0.0).all(), name
    assert np.isnan(column(values, "vwap_gap_20")).all()


# --- scale, bounds ---


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1e4])
def test_price_in_another_currency_changes_nothing(scale: float):
    bars = random_walk(300)
    scaled = replace(bars, **{n: getattr(bars, n) * scale for n in ("open", "high", "low", "close")})
    np.testing.assert_allclose(compute(scaled), compute(bars), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_volume_in_another_unit_changes_nothing(scale: float):
    bars = random_walk(300)
    np.testing.assert_allclose(compute(replace(bars, volume=bars.volume * scale)), compute(bars), rtol=1e-9, atol=1e-10)


PRICE = st.sampled_from([0.01, 1.0, 1.01, 3.0, 99.0, 100.0, 100.5, 101.0, 5000.0])


@given(
    st.lists(st.tuples(PRICE, PRICE, PRICE, PRICE, st.sampled_from([0.0, 1.0, 50.0, 1e9])), min_size=1, max_size=110)
)
def test_any_sequence_of_bars_stays_in_bounds_and_finite(rows: list[tuple[float, ...]]):
    quotes = np.array([sorted(row[:4]) for row in rows])
    swap = np.array([row[0] > row[1] for row in rows])
    opened, close = np.where(swap, quotes[:, 2], quotes[:, 1]), np.where(swap, quotes[:, 1], quotes[:, 2])
    values = compute(bars_of(opened, quotes[:, 3], quotes[:, 0], close, [row[4] for row in rows]))
    assert not np.isinf(values).any()
    for feature in catalog.FEATURES:
        (low, high), name = feature.bounds, feature.name
        known = column(values, name)
        known = known[np.isfinite(known)]
        assert (known >= low - 1e-9).all(), name
        assert (known <= high + 1e-9).all(), name
