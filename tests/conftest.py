"""Fixtures of many areas: databases that cost a copy instead of a migration, an empty Valkey, a stack."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
import redis

from helios import outage
from tests.desks import desk, modules_dir, shared_dir, trained
from tests.harness import Stack, database_url, run_sql

__all__ = ["desk", "modules_dir", "shared_dir", "trained"]

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
TEMPLATE = f"helios_template_{_WORKER}"


_CLONERS = {"fresh_database", "stack", "stack_factory", "trained", "desk"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that copy the test database as using it: pytest-django migrates it only then."""
    for item in items:
        wants = _CLONERS & set(getattr(item, "fixturenames", ()))
        if wants and item.get_closest_marker("django_db") is None:
            item.add_marker(pytest.mark.django_db)


@pytest.fixture(autouse=True)
def no_outage() -> Iterator[None]:
    """A server that one test took away is not away for the next."""
    yield
    outage.forget()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: object) -> None:
    """pytest-django's migrated test database, of which we keep an untouched copy as a template."""
    from django.db import connection

    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        name = connection.settings_dict["NAME"]
        connection.close()  # PostgreSQL copies only databases that nobody uses
    admin = database_url(os.environ["HELIOS_DATABASE_URL"], "postgres")
    run_sql(admin, f'DROP DATABASE IF EXISTS "{TEMPLATE}"')
    run_sql(admin, f'CREATE DATABASE "{TEMPLATE}" TEMPLATE "{name}"')


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
    yield from _database(None)


@pytest.fixture
def fresh_database(django_db_setup: None) -> Iterator[str]:
    """URL of a migrated database of this test's own, for processes that commit."""
    yield from _database(TEMPLATE)


@pytest.fixture
def stack(fresh_database: str) -> Iterator[Stack]:
    """A migrated database, a Valkey and a process launcher of this test's own."""
    running = Stack(fresh_database)
    yield running
    running.close()


@pytest.fixture
def stack_factory(django_db_setup: None) -> Iterator[Callable[[], Stack]]:
    """Make several stacks in one test."""
    made: list[tuple[Stack, Iterator[str]]] = []

    def make() -> Stack:
        databases = _database(TEMPLATE)
        made.append((Stack(next(databases)), databases))
        return made[-1][0]

    yield make
    for each, databases in made:
        each.close()
        next(databases, None)


def _database(template: str | None) -> Iterator[str]:
    base = os.environ["HELIOS_DATABASE_URL"]
    name = f"helios_{_WORKER}_{uuid.uuid4().hex[:10]}"
    admin = database_url(base, "postgres")
    run_sql(admin, f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    yield database_url(base, name)
    run_sql(admin, f'DROP DATABASE "{name}" WITH (FORCE)')
