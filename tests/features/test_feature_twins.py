"""The fast formulas against plain Python, and a few values worked out by hand."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from tests.features.plain import TWINS, Plain
from tests.features.samples import bars_of, column, real, walk
from tiers.contracts import Bars, FloatArray
from tiers.features import catalog
from tiers.features.compute import compute


@lru_cache
def case(name: str) -> tuple[Bars, FloatArray, Plain]:
    bars = walk(150, seed=21) if name == "walk" else real("1d", "AAPL", last=150)
    return bars, compute(bars), Plain(bars)


def test_every_feature_has_a_plain_twin() -> None:
    assert set(TWINS) == set(catalog.NAMES)


@pytest.mark.parametrize("data", ["walk", "real"])
@pytest.mark.parametrize("name", catalog.NAMES)
def test_a_feature_equals_its_plain_twin(name: str, data: str) -> None:
    bars, features, plain = case(data)
    first = catalog.LOOKBACK[name]
    slow = [TWINS[name](plain, t) for t in range(first, bars.n_bars)]
    np.testing.assert_allclose(column(features, name)[first:, 0], slow, rtol=1e-9, atol=1e-10)


def test_only_rises_are_full_strength_and_only_falls_full_weakness() -> None:
    rise = np.arange(100.0, 160.0)[:, None]
    features = compute(bars_of(np.hstack([rise, rise[::-1]])))
    for name in ("rsi_14", "stoch_k_14", "di_balance_14", "aroon_25", "trend_fit_20", "efficiency_20", "streak_8"):
        np.testing.assert_allclose(column(features, name)[-1], [1.0, -1.0], atol=1e-12)
    np.testing.assert_allclose(column(features, "adx_14")[-1], [1.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(column(features, "downside_share_20")[-1], [0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(column(features, "up_share_20")[-1], [1.0, -1.0], atol=1e-12)


def test_the_circle_of_day_and_week_starts_on_monday_at_midnight_utc() -> None:
    bars = walk(24 * 7)  # from Monday 01:00 on
    features = compute(bars)
    monday_noon, thursday_noon, next_monday = 11, 11 + 72, 24 * 7 - 1
    clock = [column(features, name)[:, 0] for name in ("day_sin", "day_cos", "week_sin", "week_cos")]
    np.testing.assert_allclose([one[next_monday] for one in clock], [0.0, 1.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose([one[thursday_noon] for one in clock], [0.0, -1.0, 0.0, -1.0], atol=1e-12)
    np.testing.assert_allclose([one[monday_noon] for one in clock[:2]], [0.0, -1.0], atol=1e-12)


def test_a_candle_is_split_into_body_and_shadows() -> None:
    one = [np.array([[price]]) for price in (12.0, 10.0, 20.0, 10.0)]
    features = compute(bars_of(one[0], open=one[1] + 4.0, high=one[2], low=one[3]))
    values = [column(features, name)[0, 0] for name in ("body_share", "upper_shadow", "lower_shadow")]
    np.testing.assert_allclose(values, [-0.2, 0.6, 0.2])
