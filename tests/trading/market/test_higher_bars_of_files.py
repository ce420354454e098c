"""Higher bars agree with the base bars that are stored, by whatever files those came."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command

from tests.support.ingest_bars import random_bars
from trading.market import read as selectors
from trading.market.bars import FIELDS, BarTable

pytestmark = pytest.mark.django_db
MINUTES = {"5m": 5, "15m": 15, "1h": 60}
MADE = random_bars(180, symbol="BTCUSDT")  # of 00:01 .. 03:00


@pytest.fixture
def bring(tmp_path: Path):
    """Import some rows of a table; the answer of the command."""

    def store(table: BarTable, *options: str) -> dict:
        path = tmp_path / "minutes.csv"
        columns = [table.ts.astype(str), *(map(repr, getattr(table, name).tolist()) for name in FIELDS)]
        lines = [",".join(("close_time", *FIELDS)), *map(",".join, zip(*columns, strict=True))]
        path.write_text("\n".join(lines))
        out = io.StringIO()
        symbol = ("--symbol", "BTCUSDT", "--timeframe", "1m", "--asset-class", "crypto")
        call_command("import_data", str(path), *symbol, "--json", *options, stdout=out)
        return json.loads(out.getvalue())

    return store


def assert_higher_bars_are_of(table: BarTable) -> None:
    for name, n in MINUTES.items():
        found = selectors.bar_range(["BTCUSDT"], name)
        field = {each: getattr(table, each).reshape(-1, n) for each in FIELDS}
        expected = {
            "open": field["open"][:, 0],
            "high": field["high"].max(1),
            "low": field["low"].min(1),
            "close": field["close"][:, -1],
            "volume": field["volume"].sum(1),
        }
        assert np.array_equal(found.ts, table.ts[n - 1 :: n])
        for each, values in expected.items():
            np.testing.assert_allclose(getattr(found, each)[:, 0], values, rtol=1e-12)


def test_a_corrected_minute_corrects_the_higher_bars_that_hold_it_and_no_others(bring):
    bring(MADE)
    later = MADE.take(np.arange(180))
    later.high[100], later.low[100], later.volume[100] = 500, 50, 77_777
    got = bring(later.take(np.array([100, 101])))
    assert [(row["timeframe"], row["rows"], row["corrected"]) for row in got["series"]] == [
        ("1m", 2, 1),
        ("5m", 1, 1),
        ("15m", 1, 1),
        ("1h", 1, 1),
    ]
    assert got["problems"] == []
    assert_higher_bars_are_of(later)


@pytest.mark.parametrize("later_first", [False, True])
def test_files_that_meet_within_a_bar_give_the_bars_of_one(bring, later_first: bool):
    parts = [MADE.take(slice(None, 93)), MADE.take(slice(93, None))]
    for part in reversed(parts) if later_first else parts:
        bring(part)
    assert_higher_bars_are_of(MADE)


def test_a_minute_that_was_lacking_fills_its_higher_bars(bring):
    got = bring(MADE.take(np.arange(180) != 100))
    assert sum("was left out" in problem for problem in got["problems"]) == 3
    assert bring(MADE.take(slice(100, 101)), "--dry-run")["problems"] == []
    bring(MADE.take(slice(100, 101)))
    assert_higher_bars_are_of(MADE)


def test_only_hours_that_a_file_does_not_fill_are_read(bring, monkeypatch):
    bring(MADE)
    read: list[list[datetime]] = []
    within = selectors.bars_within
    monkeypatch.setattr(
        "tiers.live.bar_storage.bars_within",
        lambda symbol, timeframe, ends, length: read.append(list(ends)) or within(symbol, timeframe, ends, length),
    )
    bring(MADE)
    bring(MADE.take(slice(0, 61)))
    assert read == [[datetime(2024, 3, 1, 2, tzinfo=UTC)]]
