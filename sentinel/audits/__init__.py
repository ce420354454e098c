"""The audits: pure functions from a snapshot to findings, and the report made of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sentinel.audits import accounts, credentials, host, language_model, market, pipeline, processes, servers
from sentinel.audits.facts import Reading, Snapshot
from sentinel.audits.findings import Finding, Limits, Severity, Verdict, verdict_of

Judge = Callable[[Snapshot, Limits], list[Finding]]


def _reached(_snapshot: Snapshot, _limits: Limits) -> list[Finding]:
    """A server that answered needs no further judgement."""
    return []


CHECKS: Final[dict[str, Judge]] = {
    "database": _reached,
    "migrations": servers.migrations,
    "broker": _reached,
    "workers": processes.workers,
    "beat": processes.beat,
    "breakers": processes.breakers,
    "disk": host.disk,
    "language_model": language_model.ending,
    "tokens": credentials.tokens,
    "stale_data": market.stale,
    "gaps": market.gaps,
    "cycles": pipeline.cycles,
    "orders": pipeline.orders,
    "outbox": pipeline.outbox,
    "cash": accounts.cash,
    "positions": accounts.positions,
    "ledger": accounts.ledger,
}
SERVERS: Final = frozenset({"database", "broker"})
NAMED: Final = 4  # subjects that one line of the report names


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One line of the report; `status` is ok, info, warning, critical or skipped."""

    name: str
    status: str
    detail: str
    duration_ms: float
    findings: tuple[Finding, ...] = ()

    @property
    def ran(self) -> bool:
        """Whether the check could judge, so that findings it no longer has are over."""
        return self.status != "skipped" and not any(f.code == "PROBE_FAILED" for f in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one audit found at `ts`."""

    ts: datetime
    checks: tuple[CheckResult, ...]

    @property
    def findings(self) -> list[Finding]:
        return [finding for check in self.checks for finding in check.findings]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values: verdict, findings, checks, ts."""
        return {
            "verdict": self.verdict.value,
            "findings": [asdict(finding) for finding in self.findings],
            "checks": [
                {"name": c.name, "status": c.status, "detail": c.detail, "duration_ms": c.duration_ms}
                for c in self.checks
            ],
            "ts": self.ts.isoformat(),
        }


def audit(snapshot: Snapshot, limits: Limits | None = None) -> Report:
    """Every check on one snapshot, in a fixed order."""
    chosen = limits or Limits()
    return Report(
        ts=snapshot.taken_at,
        checks=tuple(_check(name, judge, snapshot, chosen) for name, judge in CHECKS.items()),
    )


def _check(name: str, judge: Judge, snapshot: Snapshot, limits: Limits) -> CheckResult:
    reading = snapshot.readings.get(name, Reading(skipped="not read"))
    if reading.skipped:
        return CheckResult(name=name, status="skipped", detail=reading.skipped, duration_ms=reading.duration_ms)
    if reading.error:
        describe = servers.unreachable if name in SERVERS else servers.unreadable
        found = [describe(name, reading.error)]
    else:
        found = judge(snapshot, limits)
    return CheckResult(
        name=name,
        status=_worst(found),
        detail=_detail(reading, found),
        duration_ms=reading.duration_ms,
        findings=tuple(found),
    )


def _worst(found: list[Finding]) -> str:
    order = [Severity.INFO, Severity.WARNING, Severity.CRITICAL]
    return max((finding.severity for finding in found), key=order.index).value if found else "ok"


def _detail(reading: Reading, found: list[Finding]) -> str:
    """What the probe saw, or the first finding and the subjects of the next ones."""
    if not found:
        return reading.detail
    others = [finding.subject for finding in found[1:]]
    if not others:
        return found[0].message
    named = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
    return f"{found[0].message} (also {named})"


__all__ = ["CHECKS", "CheckResult", "Finding", "Limits", "Report", "Severity", "Snapshot", "Verdict", "audit"]
