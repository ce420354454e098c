"""Processes that start in a second instead of five: forked from one that has imported what is slow to import.

`Warm` starts `python -m tests.warm` once a test run. It knows third-party packages only: no settings, no address, no
code of Helios. For each command it forks, and the child becomes what `python ARGV` would have become with the
environment that was asked for: own session, own output, own imports of Helios. What must be shown from a cold start
uses `subprocess` instead.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SLOW_TO_IMPORT = (
    *("numpy", "scipy.optimize", "scipy.special", "torch", "safetensors.torch", "numba", "talib", "arch.univariate"),
    *("polars", "celery.bin.celery", "celery.concurrency.prefork", "celery.apps.worker", "celery.apps.beat"),
    *("kombu.transport.redis", "redis.asyncio", "psycopg2.extras", "django.core.management.base", "django.db.models"),
    *("django.db.backends.postgresql.base", "django.contrib.postgres.fields", "django.contrib.admin.options"),
    *("django.test", "rest_framework.serializers", "drf_spectacular.utils", "pydantic_settings", "loguru"),
    *("rich.progress", "mmh3", "re2", "jsonschema", "orjson", "psutil", "httpx", "uvicorn", "stamina", "openfeature"),
)
_PR_SET_PDEATHSIG = 1
_LINE = 1 << 22


class Warm:
    """The test's end: asks for processes and hears of their ends."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, **one_thread},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is for the tests
            )
        self._ended: dict[int, int] = {}

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], stdout: Path, stderr: Path | None = None) -> Forked:
        """A process as of `python ARGV` in the project's folder; without `stderr` both outputs go to one file."""
        for output in (stdout, stderr or stdout):
            output.touch()  # it can be read before the process has come to write
        asked = {"argv": list(argv), "env": dict(env), "stdout": str(stdout), "stderr": str(stderr or stdout)}
        self._socket.send(json.dumps(asked).encode())
        while "started" not in (word := self._hear()):
            pass
        return Forked(self, int(word["started"]), list(argv))

    def status(self, pid: int, *, timeout_s: float) -> int | None:
        """The exit status of a process, negative for a signal; None while it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while pid not in self._ended:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._socket], [], [], left)[0]:
                return None
            self._hear()
        return self._ended[pid]

    def close(self) -> None:
        """End the warm process, and with it what it has forked."""
        self._socket.close()
        self._process.wait(30)

    def _hear(self) -> dict[str, Any]:
        data = self._socket.recv(_LINE)
        if not data:
            raise RuntimeError(f"the warm process must outlive the tests, it ended with {self._process.wait(10)}")
        word: dict[str, Any] = json.loads(data)
        if "ended" in word:
            self._ended[word["ended"]] = word["status"]
        return word


class Forked:
    """A forked process, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, warm: Warm, pid: int, argv: list[str]) -> None:
        self._warm, self.pid, self.args = warm, pid, argv
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._warm.status(self.pid, timeout_s=0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended; `subprocess.TimeoutExpired` when it has not within `timeout` seconds."""
        if self.returncode is None:
            self.returncode = self._warm.status(self.pid, timeout_s=3_600.0 if timeout is None else timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


@functools.cache
def shared() -> Warm:
    """The one of this test run; it ends when the tests do."""
    made = Warm()
    atexit.register(made.close)
    return made


# --- the warm process ---


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each request, tell of each end; returns the request in a forked child, None when the tests are over."""
    ends, theirs = os.pipe()
    for end in (ends, theirs):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([control, ends], [], [])
        if ends in ready:
            os.read(ends, 4_096)
            _tell_ends(control)
        if control not in ready:
            continue
        data = control.recv(_LINE)
        if not data:
            return None
        request: dict[str, Any] = json.loads(data)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (ends, theirs, control.detach()):
                os.close(descriptor)
            return request
        control.send(json.dumps({"started": pid}).encode())


def _tell_ends(control: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            control.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def become(request: Mapping[str, Any]) -> None:
    """Be the process that was asked for."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, request["stdout"]), (2, request["stderr"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[1:1] = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    first, *rest = request["argv"]
    if first == "-m":
        sys.argv = [rest[0], *rest[1:]]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)  # noqa: S102 - the tests' own code
    else:
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    for _name in SLOW_TO_IMPORT:
        importlib.import_module(_name)
    _request = serve(socket.socket(fileno=int(sys.argv[1])))
    if _request is not None:
        become(_request)
