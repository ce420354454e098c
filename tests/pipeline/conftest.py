"""A desk: the sample data, a trained model, and real processes around a database of the test's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.harness import Stack, database_url, run_sql

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
DAILY = "AAPL,GOOG,IBM,MSFT"


def _clone(template: str) -> tuple[str, str]:
    name = f"helios_{_WORKER}_{uuid.uuid4().hex[:10]}"
    admin = database_url(os.environ["HELIOS_DATABASE_URL"], "postgres")
    run_sql(admin, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return name, database_url(os.environ["HELIOS_DATABASE_URL"], name)


def _drop(name: str) -> None:
    admin = database_url(os.environ["HELIOS_DATABASE_URL"], "postgres")
    run_sql(admin, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def trained(django_db_setup: None) -> Iterator[str]:
    """Name of a database with the sample data and a model for 1d and for 1m; its weights lie beside it."""
    name, url = _clone(f"helios_template_{_WORKER}")
    maker = Stack(url)
    maker.manage("import_data", "--sample")
    maker.manage("train", "--symbols", DAILY, "--timeframe", "1d", "--seed", "7")
    maker.manage("train", "--symbols", "SPY", "--timeframe", "1m", "--timerange", "20180102-20180209", "--seed", "7")
    yield name
    maker.close()
    _drop(name)


@pytest.fixture
def desk(trained: str) -> Iterator[Stack]:
    """A stack on a copy of the trained database; a cycle counts as stalled after a second."""
    name, url = _clone(trained)
    stack = Stack(url)
    stack.environ["HELIOS_STALLED_CYCLE_S"] = "1.0"
    yield stack
    stack.close()
    _drop(name)
