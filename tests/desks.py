"""Fixtures of a desk: the sample data, a trained model, and real processes around a database of the test's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.harness import Stack, database_url, run_sql

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
def modules_dir(shared_dir: Path) -> Path:
    """Where the stacks of one run lay out their modules: what numba compiled for one serves the next."""
    return shared_dir / "modules"


@pytest.fixture(scope="session")
def trained(django_db_setup: None, shared_dir: Path, modules_dir: Path) -> str:
    """Name of a database with the sample data and a model for 1d and for 1m; made once a run, its weights beside it."""
    name, done = f"helios_trained_{os.getppid() if _WORKER else os.getpid()}", shared_dir / "trained"
    with FileLock(shared_dir / "trained.lock"):
        if not done.exists():
            _train(name, shared_dir / "training", modules_dir)
            done.touch()
    return name


def _train(name: str, var_dir: Path, modules_dir: Path) -> None:
    clone(f"helios_template_{_WORKER or 'main'}", name)
    maker = Stack(database_url(os.environ["HELIOS_DATABASE_URL"], name))
    maker.environ |= {"HELIOS_MODULES_DIR": str(modules_dir), "HELIOS_VAR_DIR": str(var_dir)}
    try:
        maker.manage("import_data", "--sample")
        maker.manage("train", "--symbols", DAILY, "--timeframe", "1d", "--seed", "7")
        minutes = ("--timeframe", "1m", "--timerange", "20180102-20180209")
        maker.manage("train", "--symbols", "SPY", *minutes, "--seed", "7")
    finally:
        maker.close()


@pytest.fixture
def desk(trained: str, shared_dir: Path, modules_dir: Path) -> Iterator[Stack]:
    """A stack on a copy of the trained database; a cycle counts as stalled after a second."""
    name = f"helios_{_WORKER or 'main'}_{uuid.uuid4().hex[:10]}"
    stack = Stack(clone(trained, name))
    stack.environ |= {"HELIOS_STALLED_CYCLE_S": "1.0", "HELIOS_MODULES_DIR": str(modules_dir)}
    (stack.root / "var").mkdir(exist_ok=True)
    (stack.root / "var" / "models").symlink_to(shared_dir / "training" / "models")
    yield stack
    stack.close()
    run_sql(_admin(), f'DROP DATABASE "{name}" WITH (FORCE)')


def clone(template: str, name: str) -> str:
    """Copy a database; returns the URL of the copy."""
    run_sql(_admin(), f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return database_url(os.environ["HELIOS_DATABASE_URL"], name)


def _admin() -> str:
    return database_url(os.environ["HELIOS_DATABASE_URL"], "postgres")
