"""Is what Helios stands on there? Each probe is bounded in time and answers with a sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from loguru import logger

from helios import outage
from helios.breakers import CircuitOpen, breaker
from helios.breakers import selectors as breakers
from helios.redis_client import connect
from helios.rollouts.providers import named

REDIS_TIMEOUT_S: Final = 2.0
FRESH_S: Final = 1.0  # what a probe found is told to everybody who asks within so long
FAILURES: Final = (DatabaseError, redis.RedisError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """What one probe found; `detail` is fit for the public, `duration_ms` is wall time.

    `needed`: without it nobody is served.
    """

    name: str
    ok: bool
    detail: str
    duration_ms: float
    needed: bool = True


def ping_database() -> str:
    """Asks the database for one row; returns "" or raises `DatabaseError`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return ""


def pending_migrations() -> list[str]:
    """Names of the migrations that are on disk and not applied, in the order they would run."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def ping_redis() -> str:
    """Pings Redis; returns "" or raises `redis.RedisError`."""
    client = connect(settings.REDIS_URL, timeout_s=REDIS_TIMEOUT_S)
    try:
        client.ping()
    finally:
        client.close()
    return ""


def _migrations() -> str:
    pending = pending_migrations()
    return f"migrations are not applied ({len(pending)}, first {pending[0]})" if pending else ""


def _tell(name: str, error: Exception) -> None:
    """The cause for the log, since the answer is for the public."""
    if not outage.report(error, during=f"probing {name}"):
        logger.bind(probe=name, error=str(error)).warning("health.probe_failed")


def _breakers() -> str:
    n_unreadable = sum(not each.readable for each in breakers.statuses())
    return f"what redis holds of {n_unreadable} cannot be read: reset them" if n_unreadable else ""


def _timed(name: str, probe: Callable[[], str], unreachable: str, *, needed: bool = True) -> Component:
    start = time.perf_counter()
    try:
        detail = probe()
    except FAILURES as error:
        _tell(name, error)
        detail = unreachable
    return Component(
        name=name,
        ok=not detail,
        detail=detail or "ok",
        duration_ms=round((time.perf_counter() - start) * 1000, 2),
        needed=needed,
    )


def _unasked(name: str, *, without: str = "the database", needed: bool = True) -> Component:
    detail = f"unknown while {without} does not answer"
    return Component(name=name, ok=False, detail=detail, duration_ms=0.0, needed=needed)


def components() -> list[Component]:
    """Database, migrations, Redis, beat and breakers; without a database only Redis is asked for beside it.

    While beat is silent no cycle starts, and while breakers are unreadable no order is sent: a person has to be able
    to look and to halt, so neither is needed.
    """
    database = _timed("database", ping_database, "the database does not answer")
    if database.ok:
        migrations = _timed("migrations", _migrations, "the migrations cannot be read")
        beat = _timed("beat", named("BEAT_SILENCE"), "the heartbeats cannot be read", needed=False)
    else:
        migrations, beat = _unasked("migrations"), _unasked("beat", needed=False)
    server = _timed("redis", ping_redis, "redis does not answer")
    if database.ok and server.ok:
        circuits = _timed("breakers", _breakers, "the breakers cannot be read", needed=False)
    else:
        circuits = _unasked("breakers", without="redis" if database.ok else "the database", needed=False)
    return [database, migrations, server, beat, circuits]


class RecentProbe:
    """The last reading of all components. One at a time is taken; who asks meanwhile gets the one before."""

    def __init__(self) -> None:
        self._under_way = threading.Lock()
        self._found: tuple[float, list[Component]] | None = None

    def components(self) -> list[Component]:
        """A reading that is fresh, or, while a fresh one is taken, the last."""
        with_nothing_yet = self._found is None
        if self._under_way.acquire(blocking=with_nothing_yet):
            try:
                if self._found is None or time.monotonic() - self._found[0] >= FRESH_S:
                    self._found = time.monotonic(), components()
            finally:
                self._under_way.release()
        return self._found[1] if self._found is not None else components()


recent: Final = RecentProbe()


def server_versions() -> dict[str, Any]:
    """Versions and sizes of the two servers; Redis fields are None while it does not answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), pg_database_size(current_database())")
        version, size_bytes = cursor.fetchone()
    client = connect(settings.REDIS_URL, timeout_s=REDIS_TIMEOUT_S)
    try:
        info: dict[str, Any] = breaker("redis_cache").call(client.info)
    except (*FAILURES, CircuitOpen) as error:
        _tell("redis", error)
        info = {}
    finally:
        client.close()
    return {
        "database": {"version": version, "size_bytes": size_bytes},
        "redis": {
            "version": info.get("valkey_version") or info.get("redis_version"),
            "used_memory_bytes": info.get("used_memory"),
        },
    }
