"""Labels: what happened, in volatilities, on each symbol's own bars, and unknown where it is not known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiers.contracts import BUY, HOLD, SELL
from tiers.predict import labels
from tiers.predict.labels import UNKNOWN

CLOSE = 100.0 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.02, (120, 2)), axis=0))


def plain(close: list[float], t: int, h: int, theta: float, n: int) -> tuple[int, float]:
    """The label of one bar in plain Python."""
    if t < n or t + h >= len(close):
        return UNKNOWN, math.nan
    sigma = math.sqrt(sum(math.log(close[i] / close[i - 1]) ** 2 for i in range(t - n + 1, t + 1)) / n)
    if sigma == 0:
        return UNKNOWN, math.nan
    move = math.log(close[t + h] / close[t]) / (sigma * math.sqrt(h))
    return (BUY if move > theta else SELL if move < -theta else HOLD), move


@given(
    st.lists(st.sampled_from([90.0, 99.0, 100.0, 101.0, 120.0]), min_size=1, max_size=40),
    st.integers(1, 6),
    st.floats(0, 2),
    st.integers(1, 8),
)
def test_labels_equal_their_plain_twin(close: list[float], h: int, theta: float, n: int):
    made = labels.make(np.array(close)[:, None], horizon_bars=h, theta=theta, volatility_bars=n)
    for t in range(len(close)):
        outcome, move = plain(close, t, h, theta, n)
        assert made.forward[t, 0] == pytest.approx(move, rel=1e-9, abs=1e-9, nan_ok=True)
        if math.isnan(move) or abs(abs(move) - theta) > 1e-9:
            assert made.outcome[t, 0] == outcome


def test_label_is_known_after_the_horizon_and_the_last_ones_never_are():
    made = labels.make(CLOSE, horizon_bars=5, theta=0.5, volatility_bars=20)
    assert (made.known_at[:-5, 0] == np.arange(5, 120)).all()
    assert (made.known_at[-5:] == UNKNOWN).all()
    assert (made.outcome[-5:] == UNKNOWN).all()
    assert (made.outcome[:20] == UNKNOWN).all()
    assert (made.outcome[20:-5] != UNKNOWN).all()


def test_horizon_counts_a_symbol_s_own_bars():
    holed = CLOSE.copy()
    holed[[50, 51, 70], 0] = np.nan
    own = np.flatnonzero(~np.isnan(holed[:, 0]))
    made = labels.make(holed, horizon_bars=3, theta=0.5, volatility_bars=20)
    alone = labels.make(holed[own, :1], horizon_bars=3, theta=0.5, volatility_bars=20)
    np.testing.assert_array_equal(made.outcome[own, 0], alone.outcome[:, 0])
    assert made.known_at[49, 0] == 54
    assert made.outcome[50, 0] == UNKNOWN


def test_volatility_of_the_threshold_uses_only_the_past():
    shocked = CLOSE.copy()
    shocked[61:] *= np.exp(np.cumsum(np.full((59, 2), 0.3), axis=0))
    before = labels.make(CLOSE, horizon_bars=1, theta=0.5, volatility_bars=20)
    after = labels.make(shocked, horizon_bars=1, theta=0.5, volatility_bars=20)
    sigma_before = np.log(CLOSE[61] / CLOSE[60]) / before.forward[60]
    sigma_after = np.log(shocked[61] / shocked[60]) / after.forward[60]
    np.testing.assert_allclose(sigma_after, sigma_before, rtol=1e-9)


def test_trailing_move_is_the_one_that_has_happened():
    made = labels.make(CLOSE, horizon_bars=5, theta=0.5, volatility_bars=20)
    moved = np.log(CLOSE[60] / CLOSE[55])
    assert (np.sign(made.trailing[60]) == np.sign(moved)).all()
    assert (np.sign(made.trailing[60]) == np.sign(made.forward[55])).all()


def test_price_that_stood_still_has_no_label():
    made = labels.make(np.full((60, 1), 5.0), horizon_bars=2, theta=0.5, volatility_bars=10)
    assert (made.outcome == UNKNOWN).all()


@pytest.mark.parametrize(
    ("close", "options", "text"),
    [
        (np.ones(5), {}, "close must be"),
        (CLOSE, {"horizon_bars": 0}, "horizon_bars >= 1"),
        (CLOSE, {"theta": -1.0}, "theta >= 0"),
    ],
)
def test_wrong_input_is_refused_with_what_was_expected(close, options, text):
    given_options = {"horizon_bars": 5, "theta": 0.5, "volatility_bars": 20, **options}
    with pytest.raises(ValueError, match=text):
        labels.make(close, **given_options)
