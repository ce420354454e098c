"""A second demo trains again only when data, features or model code changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from helios.env import Env
from helios.stack import training
from tests.support.harness import run_sql


def tree(root: Path) -> Path:
    for name in ("trading/sample_data/a.parquet", "tiers/features/own_bars.py", "tiers/predict/train.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"1")
    return root


@pytest.mark.parametrize(
    "name", ["trading/sample_data/a.parquet", "tiers/features/own_bars.py", "tiers/predict/train.py"]
)
def test_each_input_counts(tmp_path: Path, name: str) -> None:
    before = training.fingerprint(tree(tmp_path))
    assert training.fingerprint(tmp_path) == before
    (tmp_path / name).write_bytes(b"2")
    assert training.fingerprint(tmp_path) != before


def test_a_new_file_counts(tmp_path: Path) -> None:
    before = training.fingerprint(tree(tmp_path))
    (tmp_path / "trading/sample_data/b.parquet").write_bytes(b"")
    assert training.fingerprint(tmp_path) != before


def test_a_trained_model_is_recalled_while_it_is_registered(
    make_env: Callable[..., Env], empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make_env(database_url=empty_database, redis_url="redis://h")
    assert training.recall(env) is None
    env.var_dir.mkdir(parents=True)
    training.remember(env, {"name": "compact"})
    assert training.recall(env) is None, "the table is missing"
    run_sql(empty_database, "CREATE TABLE ml_models (id int)")
    assert training.recall(env) is None, "the table is empty"
    run_sql(empty_database, "INSERT INTO ml_models VALUES (1)")
    assert training.recall(env) == {"name": "compact"}
    monkeypatch.setattr(training, "fingerprint", lambda: "other data")
    assert training.recall(env) is None


def test_a_damaged_note_is_no_note(make_env: Callable[..., Env], empty_database: str) -> None:
    env = make_env(database_url=empty_database, redis_url="redis://h")
    env.var_dir.mkdir(parents=True)
    for text in ("", "{", json.dumps({"result": 1}), "[]"):
        (env.var_dir / "training.json").write_text(text)
        assert training.recall(env) is None
