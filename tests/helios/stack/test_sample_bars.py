"""Whether the sample has to be loaded again."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from helios.env import Env
from helios.stack import sample_bars, training
from tests.support.harness import run_sql

RESULT = {"series": [{"symbol": "A", "rows": 2, "inserted": 2, "corrected": 0, "unchanged": 0}], "problems": []}
BARS = "CREATE TABLE market_ohlc (source text, revision int, ingested_at timestamptz)"
BAR = "INSERT INTO market_ohlc VALUES ('{}', 0, '{}')"


@pytest.fixture
def env(make_env: Callable[..., Env], empty_database: str) -> Env:
    made = make_env(database_url=empty_database, redis_url="redis://h")
    made.var_dir.mkdir(parents=True)
    run_sql(empty_database, BARS)
    for second in range(2):
        run_sql(empty_database, BAR.format("sample:x", f"2020-01-01 00:00:0{second}"))
    sample_bars.remember(made, RESULT)
    return made


def test_a_loaded_sample_is_recalled_as_unchanged(env: Env) -> None:
    found = sample_bars.recall(env)
    assert found == {**RESULT, "series": [{**RESULT["series"][0], "inserted": 0, "unchanged": 2}]}


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM market_ohlc WHERE ingested_at = '2020-01-01'",
        "UPDATE market_ohlc SET revision = 1 WHERE ingested_at = '2020-01-01'",
        "UPDATE market_ohlc SET source = 'file:mine.csv' WHERE ingested_at = '2020-01-01'",
        BAR.format("sample:x", "2021-01-01"),
        "DROP TABLE market_ohlc",
    ],
)
def test_a_sample_that_was_touched_is_loaded_again(env: Env, empty_database: str, change: str) -> None:
    run_sql(empty_database, change)
    assert sample_bars.recall(env) is None


def test_bars_of_other_sources_change_nothing(env: Env, empty_database: str) -> None:
    run_sql(empty_database, BAR.format("file:mine.csv", "2021-01-01"))
    assert sample_bars.recall(env) is not None


def test_other_files_are_loaded(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "fingerprint", lambda **_: "other files")
    assert sample_bars.recall(env) is None


def test_a_damaged_note_is_no_note(env: Env) -> None:
    for text in ("", "{", json.dumps({"result": 1}), "[]"):
        (env.var_dir / "sample.json").write_text(text)
        assert sample_bars.recall(env) is None
