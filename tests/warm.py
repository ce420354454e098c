"""Processes of the tests that start in a second instead of five, forked from one warm process a test run.

It knows third-party packages only: each forked process imports its own Helios. What must be shown from a cold start
uses `subprocess` instead.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from helios.warm import Forked, Warm

__all__ = ["Forked", "Running", "begin", "run", "start"]

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


@dataclass(frozen=True, slots=True)
class Running:
    """A process whose output is read when it has ended."""

    argv: list[str]
    process: Forked
    stdout: IO[bytes]
    stderr: IO[bytes]

    def end(self, timeout_s: float = 540) -> subprocess.CompletedProcess[str]:
        """What became of it; one that takes longer is killed, and the test fails."""
        try:
            status = self.process.wait(timeout_s)
        finally:
            self.process.send_signal(signal.SIGKILL)
        return subprocess.CompletedProcess(self.argv, status, *map(_read, (self.stdout, self.stderr)))


def begin(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Running:
    """`python ARGV` beside the test."""
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when they were read
    environ = os.environ if env is None else env
    outputs = {"stdout": out.fileno(), "stderr": err.fileno()}
    return Running(list(argv), _warm().start(argv, environ=environ, folder=ROOT, **outputs), out, err)


def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 540
) -> subprocess.CompletedProcess[str]:
    """`python ARGV` to its end."""
    return begin(argv, env=env).end(timeout_s)


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


@functools.cache
def _warm() -> Warm:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return Warm(SLOW_TO_IMPORT, environ={**os.environ, **one_thread}, folder=ROOT)
