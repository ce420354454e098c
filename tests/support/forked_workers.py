"""Workers of xdist forked from one process that has loaded all that is slow to load, in place of loading it each.

Loaded with `-p tests.support.forked_workers`. What a worker is told, it is told as ever; only its start differs.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import pytest
from execnet import gateway_base, gateway_io

from helios import warm
from tests.support.places import ROOT
from tests.support.warm import SLOW_TO_IMPORT

# Counting lines comes first: only what is imported afterwards is counted.
LOADED = ("tests.support.covered", "tests.support.preloaded")
OF_TESTS = ("anthropic", "hypothesis", "schemathesis", "skfolio", "scipy.stats", "playwright.sync_api", "pandas")
# Execnet's own program for a worker, which reads from its standard input what to be.
BEGIN = f"import os; os.dup2(3, 0); {gateway_io.popen_bootstrapline}"


class ForkedIO(gateway_base.Popen2IO):
    """What execnet speaks through to a worker that it would have started with `Popen`."""

    def __init__(self, _args: list[str], execmodel: Any) -> None:
        from_us, to_worker = os.pipe()
        from_worker, to_us = os.pipe()
        self._process = _loaded().start(
            ["-c", BEGIN], environ=os.environ, folder=ROOT, stdout=to_us, stderr=2, handed=from_us
        )
        for end in (from_us, to_us):
            os.close(end)
        super().__init__(os.fdopen(to_worker, "wb"), os.fdopen(from_worker, "rb"), execmodel=execmodel)

    def wait(self) -> int:
        return self._process.wait()

    def kill(self) -> None:
        self._process.terminate()


@functools.cache
def _loaded() -> warm.WarmProcess:
    silent = {"LOGURU_AUTOINIT": "0"}  # what a worker logs outside of its tests is for nobody
    return warm.WarmProcess([*SLOW_TO_IMPORT, *OF_TESTS, *LOADED], environ={**os.environ, **silent}, folder=ROOT)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Before the first worker is started; on a busy machine, all that is loaded takes minutes."""
    warm.START_S = 540.0  # type: ignore[misc]
    gateway_io.Popen2IOMaster = ForkedIO  # type: ignore[misc,assignment]
