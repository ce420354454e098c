from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
import redis

from helios import flags
from helios.breakers import process
from helios.breakers.catalog import SHIPPED
from helios.breakers.shared_state import SharedStore
from helios.control.generations import NEVER_CHANGED
from tests.support.breakers import Bench


@pytest.fixture(autouse=True)
def _own_process_state() -> Iterator[None]:
    """Every test begins as a fresh process would."""
    process.forget()
    flags.forget()
    yield
    process.forget()
    flags.forget()


@pytest.fixture
def breakers_installed(transactional_db: None) -> None:
    """What the migrations install and a transactional test before this one has flushed."""
    from helios.breakers import services
    from helios.flags import services as flag_services

    services.restore_shipped()
    flag_services.install_missing(actor="tests")
    flags.forget()


@pytest.fixture
def prefix() -> str:
    """Keys that no other test uses."""
    return f"test:{{{uuid.uuid4().hex}}}"


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    connection = redis.Redis.from_url(os.environ["HELIOS_REDIS_URL"])
    yield connection
    connection.close()


@pytest.fixture
def store(client: redis.Redis, prefix: str) -> SharedStore:
    return SharedStore(client, prefix=prefix)


@pytest.fixture
def bench(store: SharedStore) -> Bench:
    return Bench(store)


@pytest.fixture
def orders(store: SharedStore) -> Bench:
    return Bench(store, order_path=True)


@pytest.fixture
def settings_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings as shipped, read without a database: unread ones keep the order path closed."""
    read = process.Snapshot(state=NEVER_CHANGED, settings=SHIPPED)
    monkeypatch.setattr(process, "_load", lambda: read)


@pytest.fixture
def breakers_present(db: None) -> None:
    """The shipped breakers in a test that is rolled back, whatever a transactional one before it has flushed."""
    from helios.breakers import services

    services.restore_shipped()


@pytest.fixture
def redis_away(tmp_path) -> None:
    process.current().__dict__["store"] = SharedStore.from_url(f"unix://{tmp_path}/nobody.sock?db=0")
