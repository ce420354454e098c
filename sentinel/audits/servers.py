"""The servers Helios stands on."""

from __future__ import annotations

from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import Finding, Limits, Severity


def migrations(snapshot: Snapshot, _limits: Limits) -> list[Finding]:
    """MIGRATIONS_PENDING: the tables are behind the code."""
    pending = snapshot.pending_migrations
    if not pending:
        return []
    return [
        Finding(
            code="MIGRATIONS_PENDING",
            severity=Severity.CRITICAL,
            message=f"migrations are not applied ({len(pending)}, first {pending[0]}); run manage.py migrate",
            observed=str(len(pending)),
            limit="0",
        )
    ]


def unreachable(check: str, error: str) -> Finding:
    """The finding for a server that did not answer."""
    return Finding(
        code=f"{check.upper()}_UNREACHABLE",
        severity=Severity.CRITICAL,
        message=f"the {check} does not answer: {error}",
        observed="no answer",
        limit="an answer",
    )


def unreadable(check: str, error: str) -> Finding:
    """The finding for a probe that failed for a reason of its own: what it looks at is not known."""
    return Finding(
        code="PROBE_FAILED",
        severity=Severity.WARNING,
        subject=check,
        message=f"the probe {check} failed, so nothing is known about it: {error}",
    )
