"""The catalogue tells of every feature what it is, and the code computes exactly those."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.features.samples import bars_of, column, walk
from tiers import features
from tiers.features import catalog, compute
from tiers.features.catalog import FEATURES, GROUPS, NAMES

ROOT = Path(__file__).resolve().parents[2]


def test_there_are_at_least_forty_features_and_no_name_comes_twice() -> None:
    assert len(NAMES) >= 40
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_a_feature_tells_its_meaning_formula_source_and_group(feature: catalog.Feature) -> None:
    assert feature.meaning
    assert feature.formula
    assert feature.source
    assert feature.group in GROUPS
    assert feature.lookback >= 0


def test_what_is_catalogued_is_computed_and_nothing_else() -> None:
    assert set(compute.FORMULAS) == set(NAMES)


def test_no_two_groups_claim_the_same_name() -> None:
    groups = [getattr(compute, name).FORMULAS for name in GROUPS]
    assert sum(len(formulas) for formulas in groups) == len(compute.FORMULAS)


@pytest.mark.parametrize("group", GROUPS)
def test_a_feature_lives_in_the_module_of_its_group(group: str) -> None:
    assert set(getattr(compute, group).FORMULAS) == {feature.name for feature in FEATURES if feature.group == group}


def test_same_as_above_is_never_the_first_source_of_a_group() -> None:
    first = {}
    for feature in FEATURES:
        first.setdefault(feature.group, feature.source)
    assert "same" not in first.values()


def test_the_markdown_table_has_a_row_a_feature_with_six_columns() -> None:
    lines = catalog.markdown().splitlines()
    rows = lines[2:]
    assert [row.split("|")[1].strip() for row in rows] == list(NAMES)
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}


def test_the_window_is_longer_than_the_longest_lookback() -> None:
    assert max(catalog.LOOKBACK.values()) < catalog.WINDOW_BARS


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_warm_up_rows_are_nan_and_the_first_value_comes_after_the_lookback(feature: catalog.Feature) -> None:
    values = column(compute.compute(walk(140, 3)), feature.name)
    assert np.isnan(values[: feature.lookback]).all()
    assert np.isfinite(values[feature.lookback :]).all()


@pytest.mark.parametrize("factor", [2.0**-30, 2.0**30])
def test_the_scale_of_price_and_of_volume_does_not_matter(factor: float) -> None:
    bars = walk(160, 2)
    scaled = bars_of(
        bars.close * factor,
        **{name: getattr(bars, name) * factor for name in ("open", "high", "low", "volume")},
    )
    np.testing.assert_array_equal(compute.compute(scaled), compute.compute(bars))


def test_the_stage_carries_its_version_and_runs_compute() -> None:
    assert features.run is compute.compute
    assert features.VERSION.count(".") == 2


def test_importing_the_stage_loads_no_framework_and_no_torch() -> None:
    program = (
        "import sys, tiers.features.compute\n"
        "heavy = ('django', 'celery', 'redis', 'psycopg2', 'rest_framework', 'torch', 'pandas')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stderr
