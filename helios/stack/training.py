"""Whether the model that is there was trained from the data and the code that are there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2

from helios.env import BASE_DIR, Env
from helios.stack import endpoints

_INPUTS = ("trading/sample_data/*.parquet", "tiers/features/*.py", "tiers/predict/*.py")


def fingerprint(root: Path = BASE_DIR, inputs: Sequence[str] = _INPUTS) -> str:
    """A hash over files: by default the bundled data and the code of features and model."""
    total = hashlib.sha256()
    for pattern in inputs:
        for path in sorted(root.glob(pattern)):
            total.update(path.relative_to(root).as_posix().encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def remember(env: Env, result: Any) -> None:
    """Keep what `train` reported, beside the hash of what it was trained from."""
    _note(env).write_text(json.dumps({"fingerprint": fingerprint(), "result": result}))


def recall(env: Env) -> Any | None:
    """What `train` reported when it was last run on the same inputs and its model is still registered."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(_note(env).read_text())
        if kept["fingerprint"] == fingerprint() and exists(env, "SELECT 1 FROM ml_models LIMIT 1"):
            return kept["result"]
    return None


def exists(env: Env, query: str) -> bool:
    """Whether the query finds a row; False when the table is not there yet."""
    return first(env, query) is not None


def first(env: Env, query: str) -> tuple[Any, ...] | None:
    """The query's first row; None where there is none, or no table yet."""
    url = endpoints.configured(env).database_url
    entry = endpoints.django_database(url)
    given = {key.lower(): entry[key] for key in ("USER", "PASSWORD", "HOST", "PORT") if entry[key]}
    connection = psycopg2.connect(dbname=entry["NAME"], **given, **entry["OPTIONS"])
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row
    except psycopg2.errors.UndefinedTable:
        return None
    finally:
        connection.close()


def _note(env: Env) -> Path:
    return env.var_dir / "training.json"
