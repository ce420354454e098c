"""Strategies ask for weights from the past alone, and say nothing where nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.strategies import BuyAndHold, SmaCross, StrategyError
from trading.strategies.sma_cross import rolling_mean

NAN = float("nan")


def walk(n_bars: int, n_symbols: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (n_bars, n_symbols)), axis=0))
    close[rng.random(close.shape) < 0.1] = np.nan
    return close


def test_buy_and_hold_asks_once_for_equal_parts() -> None:
    close = np.array([[10.0, NAN], [11.0, NAN], [12.0, 5.0], [13.0, 6.0]])
    wanted = BuyAndHold().weights(close)
    expected = np.array([[0.5, NAN], [NAN, NAN], [NAN, 0.5], [NAN, NAN]])
    np.testing.assert_allclose(wanted, expected)


def test_buy_and_hold_begins_at_the_first_decided_row() -> None:
    wanted = BuyAndHold().weights(np.ones((5, 1)), start_row=3)
    np.testing.assert_array_equal(wanted[:, 0], [NAN, NAN, NAN, 1.0, NAN])


def test_buy_and_hold_leaves_a_symbol_alone_that_never_trades() -> None:
    wanted = BuyAndHold().weights(np.array([[1.0, NAN], [1.0, NAN]]))
    assert np.isnan(wanted[:, 1]).all()


def test_sma_cross_by_hand() -> None:
    # means of 2: 10 10.5 11.5 12 10.5 8.5 | means of 3: - - 10.67.. 11.33 11.33 9.67..
    close = np.array([10.0, 10.0, 11.0, 12.0, 12.0, 9.0, 8.0])[:, None]
    wanted = SmaCross(fast=2, slow=3).weights(close)
    np.testing.assert_array_equal(wanted[:, 0], [NAN, NAN, 1.0, NAN, NAN, 0.0, NAN])


def test_sma_cross_enters_at_the_first_decided_row_when_the_trend_is_already_up() -> None:
    close = np.arange(1.0, 11.0)[:, None]
    wanted = SmaCross(fast=2, slow=3).weights(close, start_row=6)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(wanted[:, 0])), [6])
    assert wanted[6, 0] == 1.0


def test_sma_cross_says_nothing_before_its_slow_window_is_full_or_for_too_short_a_history() -> None:
    rising = np.arange(1.0, 5.0)[:, None]
    assert np.isnan(SmaCross(fast=2, slow=5).weights(rising)).all()
    assert SmaCross(fast=2, slow=5).warmup_bars == 5


@pytest.mark.parametrize(("fast", "slow"), [(0, 5), (5, 5), (9, 3)])
def test_sma_cross_refuses_windows_that_make_no_sense(fast: int, slow: int) -> None:
    with pytest.raises(StrategyError, match=rf"1 <= fast < slow, was fast={fast}, slow={slow}"):
        SmaCross(fast=fast, slow=slow)


def test_the_parameters_are_named_for_the_report() -> None:
    assert SmaCross(fast=3, slow=9).params == {"fast": 3, "slow": 9}
    assert BuyAndHold().params == {}


def test_rolling_mean_equals_a_plain_loop_and_is_missing_in_its_warm_up() -> None:
    values = np.random.default_rng(3).normal(size=200)
    plain = [NAN] * 6 + [sum(values[i - 6 : i + 1]) / 7 for i in range(6, 200)]
    np.testing.assert_allclose(rolling_mean(values, 7), plain, rtol=1e-12)
    assert np.isnan(rolling_mean(values[:6], 7)).all()


def test_rolling_mean_of_a_live_window_is_the_batch_value_bit_for_bit() -> None:
    values = np.random.default_rng(4).normal(size=300)
    batch = rolling_mean(values, 50)
    assert all(rolling_mean(values[i - 49 : i + 1], 50)[-1] == batch[i] for i in range(49, 300))


@given(seed=st.integers(0, 10_000), at=st.integers(0, 79))
def test_the_future_changes_no_weight_at_or_before_now(seed: int, at: int) -> None:
    close = walk(80, 3, seed)
    shocked = close.copy()
    shocked[at + 1 :] *= 3.0
    for strategy in (BuyAndHold(), SmaCross(fast=3, slow=8)):
        np.testing.assert_array_equal(
            strategy.weights(close)[: at + 1], strategy.weights(shocked)[: at + 1], err_msg=strategy.name
        )


@given(seed=st.integers(0, 10_000))
def test_sma_cross_state_equals_a_bar_by_bar_twin(seed: int) -> None:
    close = walk(80, 2, seed)
    wanted = SmaCross(fast=3, slow=8).weights(close)
    for symbol in range(2):
        seen, long = [], False
        for row, price in enumerate(close[:, symbol]):
            if np.isnan(price):
                assert np.isnan(wanted[row, symbol])
                continue
            seen.append(price)
            now = len(seen) >= 8 and sum(seen[-3:]) / 3 > sum(seen[-8:]) / 8
            assert (wanted[row, symbol] == (0.5 if now else 0.0)) if now != long else np.isnan(wanted[row, symbol])
            long = now


@pytest.mark.parametrize(("fast", "slow"), [(20, 50), (10, 30), (5, 20), (50, 200)])
def test_a_price_that_never_moves_is_not_above_itself(fast: int, slow: int) -> None:
    prices = [0.1, 0.25, 0.3, 7.7, 10.01, 4321.7, 1e-7]
    asked = SmaCross(fast=fast, slow=slow).weights(np.tile(prices, (400, 1)))
    assert not np.nansum(asked)
