"""What the sentinel remembers: findings, the runs that made them, and signs of life."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class Finding(models.Model):
    """One thing that is or was not as it should be. Open until an audit no longer sees it.

    `fingerprint` (code and subject) is unique among open findings: a second sighting refreshes the first.
    """

    class Severity(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        CRITICAL = "critical"

    fingerprint = models.CharField(max_length=256, editable=False)
    check_name = models.CharField("check", max_length=32)
    code = models.CharField(max_length=64)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    subject = models.CharField(max_length=160, blank=True)
    message = models.TextField()
    observed = models.CharField(max_length=128, blank=True)
    limit = models.CharField(max_length=128, blank=True)
    count = models.PositiveIntegerField(default=1, help_text="audits that saw it")
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        db_table = "sentinel_findings"
        ordering = ["-last_seen", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"],
                condition=Q(resolved_at__isnull=True),
                name="sentinel_findings_one_open",
            ),
            models.CheckConstraint(
                condition=Q(severity__in=["info", "warning", "critical"]), name="sentinel_findings_severity"
            ),
            models.CheckConstraint(condition=Q(count__gte=1), name="sentinel_findings_count"),
            models.CheckConstraint(
                condition=Q(last_seen__gte=models.F("first_seen")), name="sentinel_findings_seen_in_order"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.subject}".strip()


class AuditRun(models.Model):
    """One audit: when, how long, with what verdict. Kept for a week."""

    ts = models.DateTimeField(db_index=True)
    duration_ms = models.FloatField()
    verdict = models.CharField(max_length=8)
    checks = models.JSONField(default=list)
    n_findings = models.PositiveIntegerField()

    class Meta:
        db_table = "sentinel_audit_runs"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(verdict__in=["HEALTHY", "DEGRADED", "CRITICAL"]),
                name="sentinel_audit_runs_verdict",
            )
        ]

    def __str__(self) -> str:
        return f"{self.verdict} {self.ts:%Y-%m-%d %H:%M:%S}"


class Heartbeat(models.Model):
    """The last sign of life of one periodic process."""

    name = models.CharField(max_length=32, primary_key=True)
    ts = models.DateTimeField()
    worker = models.CharField(max_length=128, blank=True, help_text="who ran the task that beat sent")

    class Meta:
        db_table = "sentinel_heartbeats"

    def __str__(self) -> str:
        return f"{self.name} {self.ts:%Y-%m-%d %H:%M:%S}"
