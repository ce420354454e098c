"""What an audit says, and the limits it judges by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

QUEUES: Final = ("ingest", "default", "gpu", "execution", "maintenance")


class Severity(StrEnum):
    """INFO is for reading, WARNING wants a look today, CRITICAL wants a person now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Verdict(StrEnum):
    """The worst of the open findings in one word; UNKNOWN before the first audit."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    CRITICAL = "CRITICAL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be. `code` and `subject` together tell findings apart."""

    code: str
    severity: Severity
    message: str
    subject: str = ""
    observed: str = ""
    limit: str = ""

    @property
    def fingerprint(self) -> str:
        return f"{self.code}:{self.subject}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where "fine" ends. Ages are seconds, sizes bytes."""

    queues: tuple[str, ...] = QUEUES
    heartbeat_age_s: float = 60.0  # beat sends one every 15 s
    stale_bars: int = 3
    gap_bars: int = 3
    cycle_stalled_s: float = 300.0  # the hard limit of a task
    order_unclear_s: float = 60.0
    outbox_age_s: float = 60.0
    model_ending_days: int = 60
    token_ending_days: int = 14
    disk_warning_bytes: int = 2 * 1024**3
    disk_critical_bytes: int = 512 * 1024**2


def verdict_of(findings: list[Finding]) -> Verdict:
    """CRITICAL with any critical finding, DEGRADED with any warning, else HEALTHY."""
    severities = {finding.severity for finding in findings}
    if Severity.CRITICAL in severities:
        return Verdict.CRITICAL
    return Verdict.DEGRADED if Severity.WARNING in severities else Verdict.HEALTHY
