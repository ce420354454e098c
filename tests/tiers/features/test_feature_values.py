"""Values worked out by hand, the plain twins on real bars, and what loading the stage brings along."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests.support.feature_markets import FIELDS
from tests.support.feature_samples import bars_from, column, in_ticks, real
from tests.support.feature_twins import TWINS, Plain
from tests.support.places import ROOT
from tiers.features import catalog, compute

REAL = real("1d", "AAPL", last=150)
REAL_FEATURES = compute.compute(REAL)
PLAIN = Plain(
    ts=REAL.ts.tolist(),
    **{name: getattr(REAL, name)[:, 0].tolist() for name in ("open", "high", "low", "close", "volume")},
)
# These twins count a bar that stands still as a rise; the formulas count it as neither.
UNMOVED = {"signed_volume_20", "up_share_20"}


@pytest.mark.parametrize("name", [name for name in catalog.NAMES if name not in UNMOVED])
def test_a_feature_of_real_bars_equals_its_plain_twin(name: str) -> None:
    rows = range(catalog.LOOKBACK[name], REAL.n_bars, 7)
    slow = [TWINS[name](PLAIN, row) for row in rows]
    np.testing.assert_allclose(column(REAL_FEATURES, name)[list(rows), 0], slow, rtol=1e-9, atol=1e-10)


def test_a_bar_that_stands_still_is_neither_rise_nor_fall() -> None:
    close = np.where(np.arange(80) % 4 == 3, 101.0, 100.0)[:, None]  # of four bars one rises, one falls, two stand
    close[60:] = 100.0
    close[70] = 101.0
    volume = np.where(np.arange(80)[:, None] == 70, 30.0, 1.0)
    features = compute.compute(bars_from(close, volume=volume))
    assert column(features, "up_share_20")[59, 0] == 0.0
    assert column(features, "signed_volume_20")[70, 0] == pytest.approx((3 - 3 + 30) / (19 + 30))
    assert column(features, "streak_8")[69, 0] == 0.0


def test_only_rises_are_full_strength_and_only_falls_full_weakness() -> None:
    rise = np.arange(100.0, 160.0)[:, None]
    features = compute.compute(bars_from(np.hstack([rise, rise[::-1]])))
    for name in ("rsi_14", "stoch_k_14", "di_balance_14", "aroon_25", "trend_fit_20", "efficiency_20", "streak_8"):
        np.testing.assert_allclose(column(features, name)[-1], [1.0, -1.0], atol=1e-12)
    np.testing.assert_allclose(column(features, "adx_14")[-1], [1.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(column(features, "downside_share_20")[-1], [0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(column(features, "up_share_20")[-1], [1.0, -1.0], atol=1e-12)


def test_the_circle_of_day_and_week_starts_on_monday_at_midnight_utc() -> None:
    features = compute.compute(bars_from(np.full((24 * 7, 1), 5.0)))  # from Monday 01:00 on
    clock = [column(features, name)[:, 0] for name in ("day_sin", "day_cos", "week_sin", "week_cos")]
    monday_noon, thursday_noon, next_monday = 11, 11 + 72, 24 * 7 - 1
    np.testing.assert_allclose([one[next_monday] for one in clock], [0.0, 1.0, 0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose([one[thursday_noon] for one in clock], [0.0, -1.0, 0.0, -1.0], atol=1e-12)
    np.testing.assert_allclose([one[monday_noon] for one in clock[:2]], [0.0, -1.0], atol=1e-12)


def test_a_candle_is_split_into_body_and_shadows() -> None:
    features = compute.compute(
        bars_from(np.array([[12.0]]), open=np.array([[14.0]]), high=np.array([[20.0]]), low=np.array([[10.0]])),
    )
    values = [column(features, name)[0, 0] for name in ("body_share", "upper_shadow", "lower_shadow")]
    np.testing.assert_allclose(values, [-0.2, 0.6, 0.2])


@pytest.mark.parametrize("group", catalog.GROUPS)
def test_a_feature_lives_in_the_module_of_its_group_and_in_no_other(group: str) -> None:
    names = [feature.name for feature in catalog.FEATURES if feature.group == group]
    assert list(getattr(compute, group).FORMULAS) == names


def test_importing_the_stage_loads_no_framework_and_no_torch() -> None:
    program = (
        "import sys, tiers.features.compute\n"
        "heavy = ('django', 'celery', 'redis', 'psycopg2', 'rest_framework', 'torch')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("tick", ["0.01", "0.00000001"])
@pytest.mark.parametrize("name", ["adx_14", "di_balance_14", "mfi_14"])
def test_ties_are_decided_on_ticks(name: str, tick: str) -> None:
    bars = in_ticks(150, tick=tick)
    prices = {field: getattr(bars, field)[:, 0].tolist() for field in FIELDS}
    rows = range(catalog.LOOKBACK[name], bars.n_bars, 3)
    slow = [TWINS[name](Plain(ts=bars.ts.tolist(), **prices), row) for row in rows]
    np.testing.assert_allclose(column(compute.compute(bars), name)[list(rows), 0], slow, rtol=1e-9, atol=1e-10)


def test_typical_prices_of_one_sum_of_ticks_stand_still() -> None:
    wide, narrow = np.array([1.05, 1.01, 1.04]), np.array([1.04, 1.02, 1.04])  # both have a typical price of 310/300
    high, low, close = np.where(np.arange(60)[:, None] % 2, wide, narrow).T[:, :, None]
    assert (column(compute.compute(bars_from(close, open=close, high=high, low=low)), "cci_20")[30:] == 0.0).all()
