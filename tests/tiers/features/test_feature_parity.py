"""A live call on the last bars gives what a backtest over the whole history gave for the same bar."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tests.support.feature_markets import random_walk
from tests.support.feature_samples import bars_from, chosen, own_rows, real, with_holes
from tiers.contracts import Bars, FloatArray
from tiers.features import catalog
from tiers.features.compute import compute

EXACT = [
    *("return_1", "return_60", "stoch_k_14", "aroon_25", "sma_gap_50", "slope_20", "bollinger_z_20"),
    *("atr_14", "parkinson_20", "mfi_14", "vwap_gap_20", "skew_60", "variance_ratio_5_60", "drawdown_60"),
]


def worst_difference(live: FloatArray, batch: FloatArray) -> float:
    """Largest difference, relative above one; NaN must stand in the same places."""
    np.testing.assert_array_equal(np.isnan(live), np.isnan(batch))
    return float(np.nanmax(np.abs(live - batch) / np.maximum(1.0, np.abs(batch)), initial=0.0))


def last_rows(bars: Bars, symbol: int, ends: Iterable[int]) -> FloatArray:
    """What a live call gives at each of the symbol's own bars `ends`."""
    rows = own_rows(bars, symbol)
    windows = [rows[max(0, end + 1 - catalog.WINDOW_BARS) : end + 1] for end in ends]
    return np.stack([compute(chosen(bars, window, symbol))[-1, 0] for window in windows])


def check(bars: Bars, *, every: int, within: float = 1e-9) -> None:
    batch = compute(bars)
    for symbol in range(bars.n_symbols):
        rows = own_rows(bars, symbol)
        ends = range(len(rows) - 1, 0, -every)
        live = last_rows(bars, symbol, ends)
        assert worst_difference(live, batch[rows[list(ends)], symbol]) <= within, bars.symbols[symbol]


def test_a_window_of_a_walk_equals_the_batch() -> None:
    check(random_walk(3000, 2, seed=5), every=41)


def test_a_window_with_holes_equals_the_batch() -> None:
    bars = random_walk(3000, 3, seed=6)
    check(with_holes(bars, np.random.default_rng(7).random((3000, 3)) < 0.3), every=67)


@pytest.mark.parametrize(
    ("timeframe", "symbols"),
    [("1d", ("AAPL", "MSFT", "IBM", "GOOG", "FB")), ("1h", ("BTC/USD",)), ("1m", ("SPY",))],
    ids=["daily shares", "hourly bitcoin", "minutes of a fund"],
)
def test_a_window_of_real_bars_equals_the_batch(timeframe: str, symbols: tuple[str, ...]) -> None:
    check(real(timeframe, *symbols, last=4000), every=97)


def test_windows_on_the_union_timeline_equal_the_batch_for_every_symbol() -> None:
    bars = real("1d", "AAPL", "GOOG", "FB", last=1500)
    batch = compute(bars)
    for end in range(bars.n_bars, bars.n_bars - 300, -37):
        live = compute(bars.rows(slice(end - catalog.WINDOW_BARS, end)))[-1]
        assert worst_difference(live, batch[end - 1]) <= 1e-9


def test_a_window_after_a_violent_past_equals_the_batch() -> None:
    bars = random_walk(1400, seed=8)
    close = bars.close.copy()
    close[:900] *= 1.0 + 5.0 * np.random.default_rng(9).random((900, 1))
    check(bars_from(close, volume=bars.volume), every=31)


def test_a_window_of_a_market_that_stood_still_stays_within_a_millionth() -> None:
    # Wilder's sums only shrink while nothing moves, plus, minus and range alike: ADX forgets nothing meanwhile.
    close = random_walk(900, seed=10).close
    for start in (150, 420, 700):
        close[start : start + 120] = close[start]
    check(bars_from(close), every=19, within=1e-6)


def test_windowed_features_need_only_their_lookback_and_are_equal_to_the_bit() -> None:
    bars = random_walk(500, seed=11)
    batch = compute(bars)
    for name in EXACT:
        column = catalog.NAMES.index(name)
        for end in (120, 333, 500):
            window = bars.rows(slice(end - catalog.LOOKBACK[name] - 1, end))
            assert compute(window)[-1, 0, column] == batch[end - 1, 0, column], name


def test_half_a_window_is_not_enough_so_the_window_is_not_idle() -> None:
    bars = random_walk(1000, seed=12)
    short = compute(bars.rows(slice(1000 - catalog.WINDOW_BARS // 2, None)))[-1]
    assert worst_difference(short, compute(bars)[-1]) > 1e-9
