"""`manage.py sentinel`: what a person and a script read, and the exit status."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command

from sentinel.models import AuditRun, Finding
from tests.sentinel.conftest import Desk
from tests.support.harness import Stack
from trading.models import Book

KEYS = {"verdict", "findings", "checks", "ts"}
PROCESS = {"QUEUE_WITHOUT_WORKER", "BEAT_SILENT"}


def run(*args: str) -> tuple[int, str]:
    output = io.StringIO()
    try:
        call_command("sentinel", *args, stdout=output)
    except SystemExit as end:
        return int(end.code or 0), output.getvalue()
    return 0, output.getvalue()


@pytest.fixture
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.probes.platform._consumers", lambda _timeout_s: {})


alone = pytest.mark.usefixtures("_nobody_answers", "db")


@alone
def test_an_audit_by_hand_without_a_stack_is_degraded_and_succeeds() -> None:
    status, output = run("audit", "--json")
    body = json.loads(output)
    assert (status, body["verdict"], set(body)) == (0, "DEGRADED", KEYS)
    assert {finding["code"] for finding in body["findings"]} == PROCESS
    assert AuditRun.objects.count() == 1
    assert Finding.objects.filter(resolved_at__isnull=True).count() == 6


@alone
def test_a_script_may_ask_to_fail_on_warnings() -> None:
    assert run("audit", "--fail-on", "warning")[0] == 1
    assert run("audit", "--fail-on", "critical")[0] == 0


@alone
def test_a_critical_finding_fails() -> None:
    book = Desk().book()
    Book.objects.filter(pk=book.pk).update(cash=1, name="paper\x1b[2J")
    status, output = run("audit")
    assert status == 1
    assert "Verdict: CRITICAL" in output
    assert r"book paper\x1b[2J has 1 in cash, its fills make 1000" in output


@alone
def test_people_get_one_line_a_check_and_a_verdict() -> None:
    _, output = run("audit")
    lines = output.splitlines()
    assert lines[0].split() == ["check", "status", "detail", "ms"]
    assert "no worker listens on queue ingest (also default, gpu, execution, maintenance)" in output
    assert lines[-1] == "Verdict: DEGRADED (findings: 6 warning)"
    assert "\x1b" not in output


@alone
def test_status_tells_the_last_audit_without_another_one() -> None:
    assert "No audit has run yet" in run("status")[1]
    run("audit")
    status, output = run("status", "--json")
    body = json.loads(output)
    assert (status, body["verdict"]) == (0, "DEGRADED")
    assert set(body) >= KEYS
    assert len(body["checks"]) == 17
    assert "s ago)" in run("status")[1]
    assert AuditRun.objects.count() == 1


@pytest.mark.stack
def test_without_a_database_both_say_so_in_one_line_and_fail(stack: Stack) -> None:
    away = {"HELIOS_DATABASE_URL": f"postgresql://nobody@/nothing?host={stack.root}/nowhere"}
    audit = stack.manage("sentinel", "audit", "--json", env=away, check=False)
    body = json.loads(audit.stdout)
    assert (audit.returncode, body["verdict"]) == (1, "CRITICAL")
    assert "DATABASE_UNREACHABLE" in {finding["code"] for finding in body["findings"]}
    skipped = [check["name"] for check in body["checks"] if check["status"] == "skipped"]
    assert {"migrations", "beat", "cash", "ledger"} <= set(skipped)
    assert "Traceback" not in audit.stderr
    status = stack.manage("sentinel", "status", env=away, check=False)
    assert status.returncode == 1
    assert "the sentinel's tables cannot be read" in status.stdout
    assert "Traceback" not in status.stderr


@pytest.mark.stack
def test_without_migrations_both_say_so_and_fail(stack: Stack, empty_database: str) -> None:
    empty = {"HELIOS_DATABASE_URL": empty_database}
    audit = stack.manage("sentinel", "audit", "--json", env=empty, check=False)
    body: dict[str, Any] = json.loads(audit.stdout)
    assert (audit.returncode, body["verdict"]) == (1, "CRITICAL")
    found = {finding["code"]: finding["message"] for finding in body["findings"]}
    assert "run manage.py migrate" in found["MIGRATIONS_PENDING"]
    assert "Traceback" not in audit.stderr
    assert stack.manage("sentinel", "status", env=empty, check=False).returncode == 1
