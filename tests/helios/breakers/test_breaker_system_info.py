"""What `/api/system/info` says about Redis is a thing to do without: its breaker is redis_cache."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from helios.api.system import health
from helios.breakers import process
from helios.breakers.catalog import SHIPPED
from tests.support.vendors import window

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clean_redis")]


class Dead:
    """A Redis client that times out, and counts how often somebody waited for it."""

    asked = 0

    def info(self) -> dict[str, Any]:
        type(self).asked += 1
        raise redis.TimeoutError("no answer within 2 s")

    def close(self) -> None: ...


def test_facts_about_redis_pass_its_breaker_and_are_counted():
    assert health.server_versions()["redis"]["version"]
    process.current().share()
    assert window("redis_cache") == "S"


def test_nobody_waits_for_a_dead_redis_again_and_again(monkeypatch):
    monkeypatch.setattr(health, "connect", lambda *_, **__: Dead())
    monkeypatch.setattr("helios.breakers.journal.write", lambda _: None)
    for _ in range(30):
        assert health.server_versions()["redis"] == {"version": None, "used_memory_bytes": None}
    assert Dead.asked == SHIPPED["redis_cache"].config.failure_threshold


def test_the_readiness_probe_asks_redis_whatever_the_breaker_says(monkeypatch):
    for _ in range(20):
        with pytest.MonkeyPatch.context() as dead:
            dead.setattr(health, "connect", lambda *_, **__: Dead())
            dead.setattr("helios.breakers.journal.write", lambda _: None)
            health.server_versions()
    assert health.ping_redis() == ""
