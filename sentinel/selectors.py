"""What is known without looking again: the last audit and the findings that are open."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from sentinel.audits import processes
from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import Limits, Verdict
from sentinel.models import AuditRun, Finding
from sentinel.probes import platform

_FIELDS = (
    "code", "severity", "subject", "message", "observed", "limit", "first_seen", "last_seen", "count",
    "acknowledged_at",
)  # fmt: skip


def status() -> dict[str, Any]:
    """Verdict, findings, checks and ts of the last audit, as plain values, and its age in seconds.

    UNKNOWN before the first audit. CRITICAL with the reason when the database cannot be asked.
    """
    try:
        run = AuditRun.objects.first()
        findings = [_plain(row) for row in Finding.objects.filter(resolved_at__isnull=True).values(*_FIELDS)]
    except DatabaseError as error:
        return _unreadable(str(error).strip().splitlines()[0])
    if run is None:
        return {"verdict": Verdict.UNKNOWN.value, "findings": [], "checks": [], "ts": None, "age_s": None}
    return {
        "verdict": run.verdict,
        "findings": findings,
        "checks": run.checks,
        "ts": run.ts.isoformat(),
        "age_s": round((timezone.now() - run.ts).total_seconds(), 1),
    }


def beat_silence() -> str:
    """What the audit would find of beat, which nobody asks for while beat is silent; empty while it is heard."""
    beat_at, _ = platform.beat()
    found = processes.beat(Snapshot(taken_at=timezone.now(), readings={}, beat_at=beat_at), Limits())
    return found[0].message if found else ""


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in row.items()}


def _unreadable(reason: str) -> dict[str, Any]:
    message = f"the sentinel's tables cannot be read: {reason}"
    return {
        "verdict": Verdict.CRITICAL.value,
        "findings": [
            {
                "code": "STATUS_UNREADABLE",
                "severity": "critical",
                "subject": "",
                "message": message,
                "observed": "",
                "limit": "",
            }
        ],
        "checks": [{"name": "database", "status": "critical", "detail": message, "duration_ms": 0.0}],
        "ts": timezone.now().isoformat(),
        "age_s": None,
    }
