"""Workers of xdist forked from one process that has loaded all that is slow to load, in place of loading it each.

Loaded with `-p tests.support.forked_workers`. What a worker is told, it is told as ever; only its start differs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Generator
from typing import Any

import pytest
from _pytest.assertion import rewrite
from execnet import gateway_base, gateway_io

from helios import warm
from tests.support.places import ROOT
from tests.support.warm import ONE_THREAD, SLOW_TO_IMPORT
from tests.support.warm_hub import FOR_EVER_S, SharedWarm, address

OF_TESTS = ("anthropic", "hypothesis", "schemathesis", "scipy.stats", "playwright.sync_api", "pandas")
HUB = "import sys; from tests.support import warm_hub; warm_hub.main(sys.argv[1], sys.argv[2:])"
# Of workers, counting lines comes first: only what is imported afterwards is counted.
HUBS = {
    "workers": (f"import tests.support.covered; {HUB}", "tests.support.preloaded"),
    "plain": (HUB,),
    "loaded": (HUB, "tests.support.preloaded"),
}
# Execnet's own program for a worker, which reads from its standard input what to be.
# What a worker logs outside of its tests is for nobody.
BEGIN = f"import os; from loguru import logger; logger.remove(); os.dup2(3, 0); {gateway_io.popen_bootstrapline}"


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
def _loaded() -> SharedWarm:
    return SharedWarm(address(os.environ["PYTEST_RUN"], "workers"))


@functools.cache
def _hubs() -> tuple[warm.WarmProcess, list[warm.Forked]]:
    """All from one process that has loaded what is no part of Helios; they live as long as somebody holds them."""
    libraries = warm.WarmProcess(
        [*SLOW_TO_IMPORT, *OF_TESTS], environ={**os.environ, **ONE_THREAD}, folder=ROOT, idle_s=FOR_EVER_S
    )
    run, as_we_are = os.environ["PYTEST_RUN"], {"environ": os.environ, "folder": ROOT, "stdout": 2, "stderr": 2}
    hubs = [
        libraries.start(["-c", program, address(run, name), *modules], **as_we_are)
        for name, (program, *modules) in HUBS.items()
    ]
    return libraries, hubs


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Before the first worker is started; on a busy machine, all that is loaded takes minutes."""
    warm.START_S = 540.0  # type: ignore[misc]
    rewriting = threading.Thread(target=_rewrite_assertions, args=[config])
    if not config.option.file_or_dir and not sys.dont_write_bytecode:
        rewriting.start()
    _hubs()
    if rewriting.ident:
        rewriting.join()
    gateway_io.Popen2IOMaster = ForkedIO  # type: ignore[misc,assignment]


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """What a test has shown may be no text for execnet, which then ends the whole run."""
    return _encodable((yield))


def _encodable(part: Any) -> Any:
    if isinstance(part, str):
        return part.encode(errors="backslashreplace").decode()
    if isinstance(part, dict):
        return {_encodable(key): _encodable(value) for key, value in part.items()}
    return type(part)(map(_encodable, part)) if isinstance(part, list | tuple) else part


def _rewrite_assertions(config: pytest.Config) -> None:
    """In a fresh clone each worker would rewrite all test files; they find this done."""
    state = config.stash[rewrite.assertstate_key]
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path.name.startswith(("test_", "conftest."))]
    for path in tests:
        kept = rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"
        if not kept.exists():
            with contextlib.suppress(SyntaxError):  # the workers tell of it
                seen, code = rewrite._rewrite_test(path, config)
                kept.parent.mkdir(exist_ok=True)
                rewrite._write_pyc(state, code, seen, kept)
