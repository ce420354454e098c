"""Running audits and keeping what they find: findings are opened, refreshed while seen, and resolved."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import User
from django.db import DatabaseError
from django.db.models import F, QuerySet
from django.utils import timezone
from loguru import logger

from helios import events
from helios.db.locks import changing, hold
from helios.errors import Conflict
from sentinel import audits
from sentinel.audits import CheckResult, Report
from sentinel.collect import collect
from sentinel.models import AuditRun, Finding, Heartbeat

KEEP_RUNS: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Fingerprints by what happened to them."""

    opened: tuple[str, ...] = ()
    refreshed: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()


def run_audit(*, serving: Collection[str] = ()) -> Report:
    """Look, judge, and write down what was found; the report also comes back when nothing can be written.

    `serving` names queues that are known to be served (see `collect`).
    """
    start = time.perf_counter()
    report = audits.audit(collect(serving=serving))
    try:
        record(report, duration_ms=(time.perf_counter() - start) * 1000)
    except (DatabaseError, Conflict) as error:
        logger.bind(error=str(error).strip()).warning("sentinel.not_recorded")
    return report


def record(report: Report, *, duration_ms: float) -> Changes:
    """Open, refresh and resolve findings so that the open ones are those of `report`.

    A check that could not judge leaves its findings as they are.
    """
    with changing("the list of findings"):
        hold("sentinel")  # two audits at once take turns in writing
        known = {row.fingerprint: row for row in Finding.objects.filter(resolved_at__isnull=True)}
        changes = _apply(report, known)
        AuditRun.objects.create(
            ts=report.ts,
            duration_ms=duration_ms,
            verdict=report.verdict.value,
            checks=report.to_json()["checks"],
            n_findings=len(report.findings),
        )
        AuditRun.objects.filter(ts__lt=report.ts - KEEP_RUNS).delete()
    return changes


def _apply(report: Report, known: dict[str, Finding]) -> Changes:
    opened: list[str] = []
    refreshed: list[str] = []
    seen: set[str] = set()
    for check in report.checks:
        for finding in check.findings:
            fingerprint = finding.fingerprint[:256]
            if fingerprint in seen:
                continue
            seen.add(fingerprint)
            if fingerprint in known:
                _refresh(known[fingerprint], finding, report.ts)
                refreshed.append(fingerprint)
            else:
                _open(check, finding, report.ts)
                opened.append(fingerprint)
    judged = {check.name for check in report.checks if check.ran}
    over = [row for row in known.values() if row.fingerprint not in seen and _is_over(row, judged)]
    for row in over:
        _resolve(row, report.ts)
    return Changes(opened=tuple(opened), refreshed=tuple(refreshed), resolved=tuple(row.fingerprint for row in over))


def _is_over(row: Finding, judged: set[str]) -> bool:
    """A finding that is no longer seen is over when its check could look, or no longer exists."""
    return row.check_name in judged or row.check_name not in audits.CHECKS


def _open(check: CheckResult, finding: audits.Finding, ts: datetime) -> None:
    Finding.objects.create(
        fingerprint=finding.fingerprint[:256],
        check_name=check.name,
        code=finding.code,
        severity=finding.severity.value,
        subject=finding.subject[:160],
        message=finding.message,
        observed=finding.observed[:128],
        limit=finding.limit[:128],
        first_seen=ts,
        last_seen=ts,
    )
    events.record(
        kind="finding.opened",
        severity=finding.severity.value,
        source="sentinel",
        subject=finding.fingerprint,
        data={"message": finding.message},
    )


def _refresh(row: Finding, finding: audits.Finding, ts: datetime) -> None:
    """One more sighting; one that got worse has to be acknowledged anew."""
    worse = row.severity != "critical" and finding.severity == audits.Severity.CRITICAL
    acknowledgement = {"acknowledged_at": None, "acknowledged_by": None} if worse else {}
    Finding.objects.filter(pk=row.pk).update(
        severity=finding.severity.value,
        message=finding.message,
        observed=finding.observed[:128],
        limit=finding.limit[:128],
        last_seen=max(ts, row.last_seen),
        count=F("count") + 1,
        **acknowledgement,
    )


def _resolve(row: Finding, ts: datetime) -> None:
    Finding.objects.filter(pk=row.pk).update(resolved_at=max(ts, row.last_seen))
    events.record(kind="finding.resolved", source="sentinel", subject=row.fingerprint)


def acknowledge(findings: QuerySet[Finding], user: User) -> int:
    """Note that `user` has seen these open findings; returns how many had not been acknowledged before."""
    return findings.filter(resolved_at__isnull=True, acknowledged_at__isnull=True).update(
        acknowledged_at=timezone.now(), acknowledged_by=user
    )


def heartbeat(name: str, *, worker: str) -> None:
    """Note a sign of life of a periodic process, now; a message that was held up never moves it back."""
    Heartbeat.objects.update_or_create(name=name, defaults={"ts": timezone.now(), "worker": worker[:128]})
