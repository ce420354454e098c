"""Fixtures of a desk: the sample data, a trained model, and real processes around a database of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.harness import Stack, clone, copies
from tests.support.servers import RUN

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
DAILY = "AAPL,GOOG,IBM,MSFT"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """A folder that all workers of one run share."""
    own = Path(os.environ["HELIOS_VAR_DIR"])
    shared = own.parent if _WORKER else own
    shared.mkdir(parents=True, exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def trained(template: str, shared_dir: Path) -> str:
    """Name of a database with the sample data and a model for 1d and for 1m; made once a run, its weights beside it."""
    name, done = f"helios_trained_{RUN}", shared_dir / "trained"
    with FileLock(shared_dir / "trained.lock"):
        if not done.exists():
            _train(clone(template, name), shared_dir / "training")
            done.touch()
    return name


def _train(database: str, var_dir: Path) -> None:
    maker = Stack(database)
    maker.environ["HELIOS_VAR_DIR"] = str(var_dir)
    try:
        maker.manage("import_data", "--sample")
        for symbols, timeframe, span in ((DAILY, "1d", "20081001-20110301"), ("SPY", "1m", "20180102-20180105")):
            wanted = ("--symbols", symbols, "--timeframe", timeframe, "--timerange", span, "--seed", "7")
            maker.manage("train", *wanted, timeout_s=1_200)
    finally:
        maker.close()


@pytest.fixture
def desk(trained: str, shared_dir: Path) -> Iterator[Stack]:
    """A stack on a copy of the trained database; a cycle counts as stalled after a second."""
    yield from _desk(trained, shared_dir)


@pytest.fixture(scope="module")
def shared_desk(trained: str, shared_dir: Path) -> Iterator[Stack]:
    """A desk for all tests of a module: each has books of its own and leaves everything else as it was."""
    yield from _desk(trained, shared_dir)


def _desk(trained: str, shared_dir: Path) -> Iterator[Stack]:
    databases = copies(trained)
    stack = Stack(next(databases))
    stack.environ["HELIOS_STALLED_CYCLE_S"] = "1.0"
    (stack.root / "var").mkdir(exist_ok=True)
    (stack.root / "var" / "models").symlink_to(shared_dir / "training" / "models")
    yield stack
    stack.close()
    next(databases, None)
