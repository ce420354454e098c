"""Findings are opened once, refreshed while they are seen, resolved when they are gone, and acknowledged by people."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, IntegrityError, connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helios.db import locks
from helios.events.models import SystemEvent
from sentinel import audits, services
from sentinel.audits import CheckResult, Report, Severity
from sentinel.models import AuditRun, Finding, Heartbeat
from sentinel.selectors import status

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)


def finding(subject: str = "gpu", **changes: Any) -> audits.Finding:
    fields: dict[str, Any] = {
        "code": "QUEUE_WITHOUT_WORKER", "severity": Severity.WARNING, "subject": subject,
        "message": f"no worker listens on queue {subject}", "observed": "0 workers", "limit": "1 worker", **changes,
    }  # fmt: skip
    return audits.Finding(**fields)


def report(*found: audits.Finding, minute: int = 0, status: str = "warning", name: str = "workers") -> Report:
    check = CheckResult(name=name, status=status, detail="", duration_ms=1.0, findings=found)
    return Report(ts=NOW + timedelta(minutes=minute), checks=(check,))


def record(*found: audits.Finding, **options: Any) -> services.Changes:
    return services.record(report(*found, **options), duration_ms=12.5)


def opened() -> set[str]:
    return set(Finding.objects.filter(resolved_at__isnull=True).values_list("subject", flat=True))


@pytest.fixture(autouse=True)
def _no_history(db: None) -> None:
    """Setting a database up leaves events; these tests look at their own."""
    SystemEvent.objects.all().delete()


def test_a_finding_is_opened_with_what_was_measured_and_an_event() -> None:
    assert record(finding()).opened == ("QUEUE_WITHOUT_WORKER:gpu",)
    row = Finding.objects.get()
    assert (row.code, row.severity, row.observed, row.limit) == (
        "QUEUE_WITHOUT_WORKER", "warning", "0 workers", "1 worker",
    )  # fmt: skip
    assert (row.first_seen, row.last_seen, row.count, row.resolved_at) == (NOW, NOW, 1, None)
    event = SystemEvent.objects.get()
    assert (event.kind, event.severity, event.source) == ("finding.opened", "warning", "sentinel")


def test_a_second_sighting_refreshes_the_first() -> None:
    record(finding())
    assert record(finding(observed="changed"), minute=1).refreshed == ("QUEUE_WITHOUT_WORKER:gpu",)
    row = Finding.objects.get()
    assert (row.count, row.first_seen, row.last_seen) == (2, NOW, NOW + timedelta(minutes=1))
    assert row.observed == "changed"
    assert SystemEvent.objects.count() == 1


def test_a_finding_that_is_gone_is_resolved_and_may_come_back_as_a_new_one() -> None:
    record(finding())
    assert record(minute=1, status="ok").resolved == ("QUEUE_WITHOUT_WORKER:gpu",)
    assert Finding.objects.get().resolved_at == NOW + timedelta(minutes=1)
    record(finding(), minute=2)
    assert Finding.objects.count() == 2
    assert opened() == {"gpu"}
    assert [event.kind for event in SystemEvent.objects.order_by("id")] == [
        "finding.opened",
        "finding.resolved",
        "finding.opened",
    ]


def test_a_check_that_could_not_look_leaves_its_findings_open() -> None:
    record(finding())
    assert record(minute=1, status="skipped").resolved == ()
    record(finding("workers", code="PROBE_FAILED"), minute=2)
    assert opened() == {"gpu", "workers"}


def test_another_check_does_not_resolve_findings_that_are_not_its_own() -> None:
    record(finding())
    record(minute=1, status="ok", name="disk")
    assert opened() == {"gpu"}


def test_findings_of_a_check_that_no_longer_exists_are_resolved() -> None:
    record(finding(), name="a_check_of_an_older_version")
    record(minute=1, status="ok", name="disk")
    assert opened() == set()


def test_the_same_finding_twice_in_one_report_is_one() -> None:
    assert len(record(finding(), finding()).opened) == 1


def test_long_texts_are_cut_to_their_columns() -> None:
    record(finding("x" * 500, observed="y" * 500, limit="z" * 500))
    record(finding("x" * 500, observed="y" * 500, limit="z" * 500), minute=1)
    row = Finding.objects.get()
    assert (len(row.subject), len(row.observed), len(row.limit), row.count) == (160, 128, 128, 2)


def test_the_database_allows_one_open_finding_a_fingerprint() -> None:
    record(finding())
    row = Finding.objects.get()
    row.pk = None
    with pytest.raises(IntegrityError, match="sentinel_findings_one_open"):
        row.save(force_insert=True)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from("abc"))), min_size=1, max_size=6))
def test_after_any_history_the_open_findings_are_those_last_seen(history: list[tuple[bool, set[str]]]) -> None:
    """A plain model: a check that looked replaces what is open, one that could not adds nothing and removes nothing."""
    Finding.objects.all().delete()
    expected: set[str] = set()
    for minute, (looked, seen) in enumerate(history):
        if looked:
            record(*map(finding, sorted(seen)), minute=minute, status="warning" if seen else "ok")
            expected = seen
        else:
            record(minute=minute, status="skipped")
        assert opened() == expected


def test_runs_are_kept_for_a_week() -> None:
    record(finding())
    record(finding(), minute=6 * 24 * 60)
    assert AuditRun.objects.count() == 2
    record(finding(), minute=8 * 24 * 60)
    assert AuditRun.objects.count() == 2
    run = AuditRun.objects.first()
    assert run is not None
    assert (run.verdict, run.n_findings, run.duration_ms) == ("DEGRADED", 1, 12.5)


def test_an_audit_that_cannot_be_written_down_is_still_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(services, "record", refuse)
    monkeypatch.setattr("sentinel.probes.platform._consumers", lambda _timeout_s: {})
    assert services.run_audit().verdict.value == "DEGRADED"


# --- acknowledgement ---


def test_acknowledging_notes_who_and_when_once(admin_user: User) -> None:
    record(finding("a"), finding("b"))
    assert services.acknowledge(Finding.objects.all(), admin_user) == 2
    assert services.acknowledge(Finding.objects.all(), admin_user) == 0
    row = Finding.objects.filter(subject="a").get()
    assert (row.acknowledged_by, row.acknowledged_at is not None) == (admin_user, True)


def test_a_finding_that_gets_worse_has_to_be_acknowledged_anew(admin_user: User) -> None:
    record(finding())
    services.acknowledge(Finding.objects.all(), admin_user)
    record(finding(), minute=1)
    assert Finding.objects.get().acknowledged_at is not None
    record(finding(severity=Severity.CRITICAL), minute=2)
    assert Finding.objects.get().acknowledged_at is None


# --- heartbeat ---


def test_a_heartbeat_is_one_row_that_moves() -> None:
    services.heartbeat("beat", worker="w1@host")
    first = Heartbeat.objects.get().ts
    services.heartbeat("beat", worker="w2@host")
    row = Heartbeat.objects.get()
    assert row.ts >= first
    assert row.worker == "w2@host"


# --- status ---


def test_status_before_the_first_audit_is_unknown() -> None:
    assert status()["verdict"] == "UNKNOWN"


def test_status_is_the_last_run_and_the_open_findings() -> None:
    record(finding("a"), finding("b"))
    record(finding("b"), minute=1)
    shown = status()
    assert (shown["verdict"], shown["ts"]) == ("DEGRADED", (NOW + timedelta(minutes=1)).isoformat())
    assert [row["subject"] for row in shown["findings"]] == ["b"]
    assert shown["checks"][0]["name"] == "workers"
    assert {"code", "severity", "message", "observed", "limit", "count"} <= set(shown["findings"][0])


# --- admin ---


def acknowledge(client: Client, row: Finding) -> None:
    client.post(
        "/admin/sentinel/finding/", {"action": "acknowledge_selected", "_selected_action": [row.pk]}, follow=True
    )


def test_the_list_shows_open_findings_first_and_the_rest_on_request(admin_client: Client) -> None:
    record(finding("old"))
    record(finding("new"), minute=1)
    url = "/admin/sentinel/finding/"
    pages = {state: admin_client.get(url, {"state": state}).content.decode() for state in ("resolved", "all", "new")}
    pages["open"] = admin_client.get(url).content.decode()
    shown = {state: ("queue old" in page, "queue new" in page) for state, page in pages.items()}
    assert shown == {"open": (False, True), "new": (False, True), "resolved": (True, False), "all": (True, True)}


def test_findings_are_acknowledged_from_the_list(admin_client: Client, admin_user: User) -> None:
    record(finding("a"), finding("b"))
    chosen, other = Finding.objects.order_by("subject")
    acknowledge(admin_client, chosen)
    chosen.refresh_from_db()
    other.refresh_from_db()
    assert chosen.acknowledged_by == admin_user
    assert other.acknowledged_at is None
    assert "acknowledged" in admin_client.get("/admin/sentinel/finding/").content.decode()


def test_looking_at_a_finding_changes_nothing(admin_client: Client) -> None:
    record(finding())
    row = Finding.objects.get()
    assert admin_client.get(f"/admin/sentinel/finding/{row.pk}/change/").status_code == 200
    row.refresh_from_db()
    assert row.acknowledged_at is None


def test_a_viewer_reads_findings_and_may_not_acknowledge_them(client: Client, django_user_model: type[User]) -> None:
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_finding"))
    client.force_login(viewer)
    record(finding())
    row = Finding.objects.get()
    assert client.get(f"/admin/sentinel/finding/{row.pk}/change/").status_code == 200
    acknowledge(client, row)
    row.refresh_from_db()
    assert row.acknowledged_at is None


def test_an_audit_that_cannot_write_ends_all_the_same(monkeypatch):
    monkeypatch.setattr(locks, "WAIT_MS", 100)
    monkeypatch.setattr(audits, "audit", lambda _: report(finding()))
    with closing(connection.get_new_connection(connection.get_connection_params())) as other:
        other.cursor().execute("SELECT pg_advisory_lock(hashtextextended('sentinel', 0))")
        began = time.monotonic()
        assert services.run_audit().checks
    assert opened() == set()
    assert time.monotonic() - began < 10
