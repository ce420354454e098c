"""Fixtures of many areas: databases that cost a copy instead of a migration, an empty Valkey, a stack."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
from filelock import FileLock
from hypothesis import HealthCheck

from helios import outage
from tests.support.desks import desk, shared_desk, shared_dir, trained
from tests.support.harness import Stack, clone, copies, drop
from tests.support.places import ROOT
from tests.support.servers import RUN

__all__ = ["desk", "shared_desk", "shared_dir", "trained"]

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_TEMPLATE = f"helios_template_{RUN}"
_OWN = f"helios_test_{RUN}_{_WORKER or 'main'}"
MAKE = """
import django; django.setup()
from django.core.management import call_command
from helios.modules import process
call_command("migrate", verbosity=0)
process.load_active()
"""


def pytest_configure() -> None:
    """No test depends on how busy the machine is; none spends its time on passwords' hashes or on static files."""
    from django.conf import settings
    from django.test import TransactionTestCase

    any_pace: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    # The same examples at every run, so that a red one is the change's; `make soak` looks for others.
    hypothesis.settings.register_profile("helios", max_examples=40, derandomize=True, **any_pace)
    hypothesis.settings.register_profile("soak", max_examples=1_000, **any_pace)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "helios"))
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    TransactionTestCase._fixture_teardown = lambda _: None  # a copy of the template follows; none need be emptied
    settings.WHITENOISE_AUTOREFRESH = True  # else each test client begins by listing every file of the admin


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests of real processes, which mostly wait, come one by one among those that mostly compute.

    All come in the first two thirds, for none of them may be what everybody waits for in the end. Those that want a
    trained model come last, but for one, whose process makes it: they would wait for one another meanwhile.
    """
    stack = {item.path for item in items if item.get_closest_marker("stack") is not None}
    models = sorted({item.path for item in items if "trained" in getattr(item, "fixturenames", ())} & stack)
    others = list(dict.fromkeys(item.path for item in items if item.path not in stack))
    waiting = [*models[:1], *sorted(stack.difference(models)), *models[1:]]
    places = {path: float(place) for place, path in enumerate(others)}
    places |= {path: place * len(others) / max(1.5 * len(waiting), 1) - 0.5 for place, path in enumerate(waiting)}
    items.sort(key=lambda item: places[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """After a transactional test, which commits, the next one finds the shipped rows and no others."""
    yield
    marker = item.get_closest_marker("django_db")
    committed = {"transactional_db", "live_server"} & set(getattr(item, "fixturenames", ()))
    if committed or (marker is not None and marker.kwargs.get("transaction")):
        _use("postgres")
        drop(_OWN)
        clone(_TEMPLATE, _OWN)
        _use(_OWN)


@pytest.fixture(autouse=True)
def no_outage() -> Iterator[None]:
    """A server that one test took away is not away for the next."""
    yield
    outage.forget()


def pytest_sessionstart(session: pytest.Session) -> None:
    """While the workers of xdist still collect, the database that all of them wait for is made."""
    if not _WORKER and session.config.getoption("numprocesses", None):
        threading.Thread(target=_make_template, args=(Path(os.environ["HELIOS_VAR_DIR"]),)).start()


def pytest_collection_finish() -> None:
    """What is there by now stays: no collection of garbage need look at it again, and few are needed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def template(shared_dir: Path) -> str:
    """Name of a migrated database that nobody uses, made once a run: every other database is a copy of it."""
    _make_template(shared_dir)
    return _TEMPLATE


def _make_template(shared_dir: Path) -> None:
    """Migrate it, and have numba compile the shipped modules once, before many processes would do so side by side."""
    shared_dir.mkdir(parents=True, exist_ok=True)
    done = shared_dir / "migrated"
    with FileLock(shared_dir / "migrated.lock"):
        if not done.exists():
            drop(_TEMPLATE)  # of an attempt that failed
            url = clone("template1", _TEMPLATE)
            environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "helios.settings", "HELIOS_DATABASE_URL": url}
            subprocess.run([sys.executable, "-c", MAKE], cwd=ROOT, env=environ, check=True, timeout=540)
            done.touch()


@pytest.fixture(scope="session")
def django_db_setup(template: str, django_db_blocker: Any) -> Iterator[None]:
    """The database of this process's own tests, in place of pytest-django's, which would migrate in every process."""
    clone(template, _OWN)
    with django_db_blocker.unblock():
        _use(_OWN)
    yield
    with django_db_blocker.unblock():
        _use("postgres")
    drop(_OWN)


def _use(name: str) -> None:
    """Turn Django to a database of the same server."""
    from django.conf import settings
    from django.db import connection

    connection.close()
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = name


@pytest.fixture
def clean_redis() -> Iterator[redis.Redis]:
    """This worker's Valkey database, empty before and after the test."""
    client = redis.Redis.from_url(os.environ["HELIOS_REDIS_URL"])
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def empty_database() -> Iterator[str]:
    """URL of a database without a single table."""
    yield from copies("template1")


@pytest.fixture
def fresh_database(template: str) -> Iterator[str]:
    """URL of a migrated database of this test's own, for processes that commit."""
    yield from copies(template)


@pytest.fixture
def stack(fresh_database: str) -> Iterator[Stack]:
    """A migrated database, a Valkey and a process launcher of this test's own."""
    running = Stack(fresh_database)
    yield running
    running.close()
