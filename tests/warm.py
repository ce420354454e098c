"""Processes of the tests that start in a second instead of five, forked from one warm process a test run.

It knows third-party packages only: each forked process imports its own Helios. What must be shown from a cold start
uses `subprocess` instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from helios.warm import Forked, Warm

__all__ = ["Forked", "start"]

ROOT = Path(__file__).resolve().parent.parent
SLOW_TO_IMPORT = (
    *("numpy", "scipy.optimize", "scipy.special", "torch", "safetensors.torch", "numba", "talib", "arch.univariate"),
    *("polars", "celery.bin.celery", "celery.concurrency.prefork", "celery.apps.worker", "celery.apps.beat"),
    *("kombu.transport.redis", "redis.asyncio", "psycopg2.extras", "django.core.management.base", "django.db.models"),
    *("django.db.backends.postgresql.base", "django.contrib.postgres.fields", "django.contrib.admin.options"),
    *("django.test", "rest_framework.serializers", "drf_spectacular.utils", "pydantic_settings", "loguru"),
    *("rich.progress", "mmh3", "re2", "jsonschema", "orjson", "psutil", "httpx", "uvicorn", "stamina", "openfeature"),
)


def start(argv: Sequence[str], *, env: Mapping[str, str], stdout: Path, stderr: Path | None = None) -> Forked:
    """A process as of `python ARGV` in the project's folder; without `stderr` both outputs go to one file."""
    with ExitStack() as files:
        out, err = (files.enter_context(name.open("ab")).fileno() for name in (stdout, stderr or stdout))
        return _warm().start(argv, environ=env, folder=ROOT, stdout=out, stderr=err)


@functools.cache
def _warm() -> Warm:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return Warm(SLOW_TO_IMPORT, environ={**os.environ, **one_thread}, folder=ROOT)
