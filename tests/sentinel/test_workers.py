"""Real workers: who listens where, and the two tasks that beat sends."""

from __future__ import annotations

import contextlib
import os
import threading
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery
from django.test import override_settings
from kombu.exceptions import OperationalError

from helios.errors import DataError
from helios.stack import endpoints, processes
from sentinel import tasks
from sentinel.audits.findings import QUEUES
from sentinel.models import AuditRun, Heartbeat
from sentinel.probes import platform
from tests.support.harness import Stack


def broker(stack: Stack) -> Any:
    return override_settings(CELERY_BROKER_URL=endpoints.celery_broker(stack.valkey.url()))


def beat_schedule() -> set[str]:
    from django.conf import settings

    return {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}


def test_beat_sends_tasks_that_exist() -> None:
    assert {tasks.audit.name, tasks.heartbeat.name} <= beat_schedule()


@pytest.mark.stack
def test_a_real_worker_is_seen_on_its_queues_and_does_what_beat_sends(stack: Stack) -> None:
    with broker(stack):
        assert platform.workers(QUEUES)[0] == {}
    stack.start_worker(["default", "maintenance"])
    with broker(stack):
        consumers, detail = platform.workers(["default", "maintenance"])
    assert (consumers, detail) == ({"default": 1, "maintenance": 1}, "default 1, maintenance 1")
    with Celery("test", broker=endpoints.celery_broker(stack.valkey.url()), set_as_current=False) as app:
        for name in ("sentinel.heartbeat", "sentinel.audit"):
            app.send_task(name, queue="maintenance", ignore_result=True)
    stack.wait_for(lambda: stack.value("SELECT count(*) FROM sentinel_audit_runs"), what="an audit by a worker")
    assert stack.query("SELECT name FROM sentinel_heartbeats") == [("beat",)]
    missing = stack.query("SELECT subject FROM sentinel_findings WHERE code = 'QUEUE_WITHOUT_WORKER'")
    assert sorted(row[0] for row in missing) == ["execution", "gpu", "ingest"]


@pytest.mark.stack
def test_beat_is_heard_and_everything_audited_as_soon_as_the_workers_are_there(stack: Stack) -> None:
    """Its schedule would let a new database wait 15 s and a minute, and leave an old one DEGRADED for as long."""
    stack.query("INSERT INTO sentinel_heartbeats (name, ts, worker) VALUES ('beat', now() - interval '1 day', '')")
    stack.start_worker(["maintenance"], name="maintenance")
    stack.start(processes.beat())
    heard = "SELECT ts FROM sentinel_heartbeats WHERE ts > now() - interval '1 hour'"
    stack.wait_for(lambda: stack.query(heard), what="a heartbeat")
    heard_at = stack.value(heard)
    stack.wait_for(lambda: stack.value("SELECT count(*) > 1 FROM sentinel_audit_runs"), what="two audits")
    first, second = (ts for (ts,) in stack.query("SELECT ts FROM sentinel_audit_runs ORDER BY ts LIMIT 2"))
    assert max(first - heard_at, second - first) < timedelta(seconds=30)
    assert stack.query("SELECT FROM sentinel_findings WHERE code = 'BEAT_SILENT'") == []
    missing = "SELECT count(*) FROM sentinel_findings WHERE code = 'QUEUE_WITHOUT_WORKER' AND resolved_at IS NULL"
    assert stack.value(missing) == len(QUEUES) - 1
    stack.start_worker(name="late")
    stack.wait_for(lambda: stack.value(missing) == 0, what="an audit that sees all workers")


@pytest.mark.parametrize("answer", [5, ["x"], [{}], [{"name": []}]])
def test_answers_of_no_worker_fail_the_probe_and_not_the_audit(clean_redis: redis.Redis, answer: object) -> None:
    url = endpoints.celery_broker(os.environ["HELIOS_REDIS_URL"])
    listening, done = threading.Event(), threading.Event()

    def odd() -> None:
        with Celery("odd", broker=url, set_as_current=False) as app, app.connection_for_read() as link:
            handlers = {"active_queues": lambda _state, **_: answer}
            with app.control.mailbox.Node("odd@host", channel=link.channel(), handlers=handlers).listen():
                listening.set()
                while not done.is_set():
                    with contextlib.suppress(TimeoutError):
                        link.drain_events(timeout=0.1)

    stranger = threading.Thread(target=odd)
    stranger.start()
    try:
        assert listening.wait(10)
        with override_settings(CELERY_BROKER_URL=url), pytest.raises(DataError, match="must answer with their queues"):
            platform.workers(QUEUES)
    finally:
        done.set()
        stranger.join()


@pytest.mark.django_db
def test_the_tasks_run_in_this_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "_consumers", lambda _timeout_s: dict.fromkeys(QUEUES, 1))
    tasks.heartbeat.apply()
    assert tasks.audit.apply().get() == "HEALTHY"
    assert Heartbeat.objects.filter(name="beat").exists()
    assert AuditRun.objects.count() == 1


def test_a_broker_that_goes_away_is_an_error_and_not_an_endless_wait(tmp_path: Any) -> None:
    away = f"redis+socket://{tmp_path}/nobody.sock?virtual_host=0"
    with override_settings(CELERY_BROKER_URL=away), pytest.raises(OperationalError, match=r"nobody\.sock"):
        platform.workers(QUEUES)
