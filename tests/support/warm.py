"""Processes of the tests that start in a second or less instead of five, forked from a warm process.

One knows third-party packages only: what it forks imports its own Helios. Another has Helios loaded too, for the
processes of whole stacks (`tests.support.preloaded`). The workers of xdist share both (`tests.support.warm_hub`).
What must be shown from a cold start uses `subprocess` instead.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from helios.stack import children
from helios.warm import Forked, WarmProcess
from tests.support.places import ROOT
from tests.support.warm_hub import SharedWarm, address

__all__ = ["Forked", "Running", "begin", "piped", "run", "start"]

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
BEGIN = "from tests.support.preloaded import begin; begin()"
SLOW_TO_IMPORT = (
    *("numpy", "scipy.optimize", "scipy.special", "torch", "safetensors.torch", "numba", "talib", "arch.univariate"),
    *("polars", "celery.bin.celery", "celery.concurrency.prefork", "celery.apps.worker", "celery.apps.beat"),
    *("kombu.transport.redis", "redis.asyncio", "psycopg2.extras", "django.core.management.base", "django.db.models"),
    *("django.db.backends.postgresql.base", "django.contrib.postgres.fields", "django.contrib.admin.options"),
    *("django.test", "rest_framework.serializers", "drf_spectacular.utils", "pydantic_settings", "loguru"),
    *("rich.progress", "mmh3", "re2", "jsonschema", "orjson", "psutil", "httpx", "uvicorn", "stamina", "openfeature"),
)


def start(argv: Sequence[str], *, env: Mapping[str, str], stdout: Path) -> Forked:
    """A process as of `python ARGV` in the project's folder, both outputs in one file; Helios was loaded before."""
    with stdout.open("ab") as out:
        return _fork(argv, env, out, out, loaded=True)


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


def begin(argv: Sequence[str], *, env: Mapping[str, str] | None = None, loaded: bool = False) -> Running:
    """`python ARGV` beside the test; with `loaded`, Helios was loaded before."""
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when they were read
    return Running(list(argv), _fork(argv, os.environ if env is None else env, out, err, loaded=loaded), out, err)


def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 540, loaded: bool = False
) -> subprocess.CompletedProcess[str]:
    """`python ARGV` to its end."""
    return begin(argv, env=env, loaded=loaded).end(timeout_s)


def piped(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    out: Callable[[str], object],
    err: Callable[[str], object],
) -> tuple[Forked, list[threading.Thread]]:
    """`children.piped`, of a process that was loaded before."""
    ends = [os.pipe(), os.pipe()]
    with contextlib.ExitStack() as close:
        theirs = [close.enter_context(os.fdopen(end, "wb")) for _, end in ends]
        process = _fork(argv[1:], env, *theirs, loaded=True)
    streams = zip((os.fdopen(end, "rb") for end, _ in ends), (out, err), strict=True)
    readers = [threading.Thread(target=children._read, args=each, daemon=True) for each in streams]
    for reader in readers:
        reader.start()
    return process, readers


def _fork(argv: Sequence[str], env: Mapping[str, str], out: IO[bytes], err: IO[bytes], *, loaded: bool) -> Forked:
    warm, words = (_warm("tests.support.preloaded"), ["-c", BEGIN, *argv]) if loaded else (_warm(), argv)
    return warm.start(words, environ=env, folder=ROOT, stdout=out.fileno(), stderr=err.fileno())


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


@functools.cache
def _warm(*loaded: str) -> WarmProcess:
    if "PYTEST_XDIST_WORKER" in os.environ:
        return SharedWarm(address(os.environ["PYTEST_RUN"], "loaded" if loaded else "plain"))
    return WarmProcess([*SLOW_TO_IMPORT, *loaded], environ={**os.environ, **ONE_THREAD}, folder=ROOT)
