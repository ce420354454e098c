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


class PoisonMessage(models.Model):
    """An event that a group of consumers could not take in, set aside so that it holds up no other one."""

    class State(models.TextChoices):
        ASIDE = "aside", "set aside"
        AGAIN = "again", "given back to its group"
        DONE = "done"

    topic = models.CharField(max_length=32)
    group = models.CharField(max_length=64)
    entry = models.CharField(max_length=48, help_text="its place in the stream")
    body = models.TextField()
    fault = models.CharField(max_length=255)
    state = models.CharField(max_length=8, choices=State.choices, default=State.ASIDE)
    set_aside_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "bus_poison"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["topic", "group", "entry"], name="bus_poison_once"),
            models.CheckConstraint(condition=models.Q(state__in=["aside", "again", "done"]), name="bus_poison_state"),
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.entry} for {self.group}"
