"""Liveness and readiness, and what they tell the public."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from django.db import OperationalError, ProgrammingError, connection
from django.test import Client
from django.utils import timezone
from loguru import logger

from helios import VERSION
from helios.api.system import health
from helios.web.roles import Role
from sentinel.models import Heartbeat
from tests.support.people import api_of

SECRET_TEXT = "connection to server at 10.9.8.7 failed: password authentication failed"


@pytest.fixture(autouse=True)
def _nothing_probed_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "recent", health.RecentProbe())


def components(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in body["components"]}


def test_liveness_needs_neither_database_nor_login(client: Client) -> None:
    """Not marked django_db: a query would fail the test."""
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-cache" in response["Cache-Control"]


@pytest.fixture
def heartbeat(db: None) -> Heartbeat:
    """Beat was heard just now."""
    return Heartbeat.objects.create(name="beat", ts=timezone.now())


@pytest.mark.usefixtures("heartbeat")
def test_ready_when_everything_is_there(client: Client) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 200
    body = response.json()
    assert (body["status"], body["missing"]) == ("ready", [])
    assert list(components(body)) == ["database", "migrations", "redis", "beat", "breakers"]
    assert all(component["duration_ms"] >= 0 for component in body["components"])


def test_a_beat_that_has_gone_silent_is_named_and_people_are_served_still(client: Client, heartbeat: Heartbeat) -> None:
    Heartbeat.objects.update(ts=heartbeat.ts - timedelta(seconds=90))
    response = client.get("/health/ready")
    body = response.json()
    assert (response.status_code, body["status"], body["missing"]) == (200, "degraded", ["beat"])
    assert components(body)["beat"]["detail"] == "the last heartbeat of beat is 90 s old"


@pytest.mark.django_db
def test_a_beat_that_never_ticked_is_named_too(client: Client) -> None:
    body = client.get("/health/ready").json()
    assert components(body)["beat"]["detail"] == "beat has never sent a heartbeat"


@pytest.mark.usefixtures("heartbeat")
def test_a_redis_that_is_away_is_named(client: Client, settings: Any, tmp_path: Any) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["missing"] == ["redis", "breakers"]
    assert components(response.json())["redis"]["detail"] == "redis does not answer"


@pytest.mark.usefixtures("heartbeat")
def test_pending_migrations_are_named(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sentinel'")
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["missing"] == ["migrations"]
    assert "sentinel.0001_tables" in components(response.json())["migrations"]["detail"]


def test_a_database_that_is_away_is_named_and_its_address_kept_secret(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise OperationalError(SECRET_TEXT)

    monkeypatch.setattr(health, "ping_database", refuse)
    response = client.get("/health/ready")
    assert response.status_code == 503
    body = response.json()
    assert body["missing"] == ["database", "migrations", "beat", "breakers"]
    assert "10.9.8.7" not in response.content.decode()
    assert "does not answer" in components(body)["database"]["detail"]


def test_the_log_says_why_a_probe_failed(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> list[str]:
        raise ProgrammingError("permission denied for table django_migrations")

    monkeypatch.setattr(health, "pending_migrations", refuse)
    lines: list[tuple[str, str]] = []
    sink = logger.add(lambda each: lines.append((each.record["message"], each.record["extra"].get("error", ""))))
    try:
        body = client.get("/health/ready").json()
    finally:
        logger.remove(sink)
    assert components(body)["migrations"]["detail"] == "the migrations cannot be read"
    assert ("health.probe_failed", "permission denied for table django_migrations") in lines


def test_a_real_refusal_of_the_driver_is_a_database_error() -> None:
    """What the probe catches is what the driver raises, wrapped by Django."""
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(host="/nowhere", user="nobody", dbname="nothing", connect_timeout=1)


@pytest.mark.django_db
def test_system_info_is_for_users_only(client: Client) -> None:
    assert client.get("/api/system/info").status_code == 401


@pytest.mark.django_db
def test_system_info_tells_versions_and_sizes_to_a_token() -> None:
    body = api_of(Role.VIEWER).get("/api/system/info").json()
    assert (body["name"], body["version"], body["environment"]) == ("Helios", VERSION, "dev")
    assert body["database"]["size_bytes"] > 0
    assert body["redis"]["used_memory_bytes"] > 0
    assert body["uptime_s"] >= 0
    assert body["packages"]["celery"].startswith("5.")


@pytest.mark.django_db
def test_system_info_works_while_redis_is_away(admin_client: Client, settings: Any, tmp_path: Any) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    assert admin_client.get("/api/system/info").json()["redis"] == {"version": None, "used_memory_bytes": None}


@pytest.mark.django_db
def test_one_probe_answers_everybody_who_asks_within_a_second(
    client: Client, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    first = client.get("/health/ready").json()
    with django_assert_num_queries(0):
        assert client.get("/health/ready").json() == first
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    monkeypatch.setattr(health, "ping_redis", lambda: "redis is asleep")
    assert "redis" in client.get("/health/ready").json()["missing"]


def test_while_a_probe_hangs_the_last_reading_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    probing, go_on, taken = threading.Event(), threading.Event(), []

    def hanging() -> list[health.Component]:
        taken.append(len(taken))
        if len(taken) == 2:
            probing.set()
            go_on.wait(30)
        return [health.Component(name=str(len(taken)), ok=True, detail="ok", duration_ms=0.0)]

    monkeypatch.setattr(health, "components", hanging)
    monkeypatch.setattr(health, "FRESH_S", 0.0)
    recent = health.RecentProbe()
    assert recent.components()[0].name == "1"
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(recent.components)
        assert probing.wait(30)
        assert [recent.components()[0].name for _ in range(3)] == ["1", "1", "1"]
        go_on.set()
        assert slow.result(30)[0].name == "2"
