"""The fast features against slow twins written from the textbook formulas, and the catalogue against both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.commands import answered, printed
from tests.support.feature_markets import random_walk
from tests.support.feature_twins import TWINS, Plain
from tests.support.places import ROOT
from tiers.features import VERSION, catalog, feature_set, run
from tiers.features.compute import FORMULAS, compute

BARS = random_walk(220, seed=4)
VALUES = compute(BARS)[:, 0, :]
PLAIN = Plain(
    ts=BARS.ts.tolist(),
    **{name: getattr(BARS, name)[:, 0].tolist() for name in ("open", "high", "low", "close", "volume")},
)


@pytest.mark.parametrize("feature", catalog.FEATURES, ids=catalog.NAMES)
def test_feature_equals_its_plain_twin(feature: catalog.Feature):
    column = catalog.NAMES.index(feature.name)
    for row in (max(feature.lookback, 40), 80, 133, 219):
        if row >= feature.lookback:
            assert VALUES[row, column] == pytest.approx(TWINS[feature.name](PLAIN, row), rel=1e-9, abs=1e-11), row


@pytest.mark.parametrize("feature", catalog.FEATURES, ids=catalog.NAMES)
def test_first_value_stands_exactly_after_the_lookback(feature: catalog.Feature):
    column = VALUES[:, catalog.NAMES.index(feature.name)]
    assert np.isnan(column[: feature.lookback]).all()
    assert np.isfinite(column[feature.lookback :]).all()


@pytest.mark.parametrize("feature", catalog.FEATURES, ids=catalog.NAMES)
def test_first_value_already_equals_the_twin(feature: catalog.Feature):
    expected = TWINS[feature.name](PLAIN, feature.lookback)
    found = VALUES[feature.lookback, catalog.NAMES.index(feature.name)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_catalogue_names_every_formula_once_and_describes_it():
    assert len(catalog.NAMES) >= 40
    assert len(set(catalog.NAMES)) == len(catalog.NAMES)
    assert set(catalog.NAMES) == set(FORMULAS) == set(TWINS)
    assert {feature.group for feature in catalog.FEATURES} == set(catalog.GROUPS)
    assert all(f.meaning and f.formula and f.source for f in catalog.FEATURES)
    assert catalog.LOOKBACK["adx_14"] == 27
    assert max(catalog.LOOKBACK.values()) < catalog.WINDOW_BARS


def test_groups_follow_one_another_in_the_order_of_the_catalogue():
    order = [catalog.GROUPS.index(feature.group) for feature in catalog.FEATURES]
    assert order == sorted(order)


def test_the_command_lists_every_feature_and_writes_the_page():
    assert printed("features") == (ROOT / "docs" / "features.md").read_text()
    listed = answered("features", "--list")
    assert [each["name"] for each in listed["features"]] == list(catalog.NAMES)
    ranges = {each["name"]: each["range"] for each in listed["features"]}
    wanted = {"rsi_14": "-1 to 1", "adx_14": "0 to 1", "atr_14": "0 and above", "drawdown_60": "0 and below"}
    assert {**wanted, "gap": "any"}.items() <= ranges.items()


def test_stage_is_a_version_and_one_function():
    assert VERSION == "1.0.0"
    hours, days = random_walk(100, 2), replace(random_walk(90, 2), timeframe="1d")
    hours = replace(hours, timeframe="1h")
    np.testing.assert_array_equal(run({"1d": days, "1h": hours}), compute(hours))
    made = feature_set("1h")
    assert (made.columns, made.timeframes, str(made)) == (catalog.NAMES, ("1h",), "base-v1 1.1.0")


def test_result_has_a_column_for_each_name_and_keeps_each_history_contiguous():
    values = compute(random_walk(100, 3))
    assert values.shape == (100, 3, len(catalog.NAMES))
    assert values.dtype == np.float64
    assert values[:, 1, 5].flags.c_contiguous
