from django.db import models


class SystemEvent(models.Model):
    """One thing that happened to the platform: append-only, read by people and by the sentinel."""

    class Severity(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        CRITICAL = "critical"

    ts = models.DateTimeField(auto_now_add=True, db_index=True)
    kind = models.CharField(max_length=64, db_index=True)
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.INFO)
    source = models.CharField(max_length=255)
    subject = models.CharField(max_length=128, blank=True)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "system_events"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(severity__in=["info", "warning", "critical"]),
                name="system_events_severity",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}".strip()
