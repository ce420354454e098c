from typing import ClassVar

from django.db import models

from helios.breakers.catalog import Settings
from helios.breakers.core import Config


class ShownState(models.TextChoices):
    """States as people see them: the machine's own, and the one that a person sets."""

    CLOSED = "CLOSED", "closed"
    OPEN = "OPEN", "open"
    HALF_OPEN = "HALF_OPEN", "half-open"
    FORCED_OPEN = "FORCED_OPEN", "forced open"


class CircuitBreaker(models.Model):
    """How one breaker behaves. Counts live in Redis; the last state here is only for people to read."""

    name = models.SlugField(max_length=64, unique=True)
    description = models.CharField(max_length=200, blank=True)
    failure_threshold = models.PositiveIntegerField(
        default=5, help_text="Opens at a failure that makes this many among the last calls."
    )
    minimum_calls = models.PositiveIntegerField(
        default=5, help_text="Never opens before this many calls were seen since it last closed."
    )
    window_calls = models.PositiveIntegerField(default=10, help_text="How many of the last calls are looked at.")
    open_s = models.FloatField("open for (seconds)", default=60.0, help_text="How long calls are refused.")
    half_open_permits = models.PositiveIntegerField(
        default=1,
        help_text="Probes that must succeed, and may be under way together, before it closes again.",
    )
    permit_s = models.FloatField(
        "probe expires after (seconds)",
        default=60.0,
        help_text="A probe that has not reported by then no longer counts, and another may go.",
    )
    order_path = models.BooleanField(
        default=False,
        help_text="Guards orders: it acts even when the flag circuit_breakers is off, and refuses calls "
        "while the shared state cannot be reached. Orders that only reduce a position always pass.",
    )
    forced_open = models.BooleanField(default=False, editable=False)
    last_state = models.CharField(max_length=16, choices=ShownState.choices, default=ShownState.CLOSED, editable=False)
    last_state_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "circuit_breakers"
        ordering = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(failure_threshold__gte=1, minimum_calls__gte=1, half_open_permits__gte=1),
                name="circuit_breakers_counts",
            ),
            models.CheckConstraint(
                condition=models.Q(window_calls__gte=models.F("failure_threshold"))
                & models.Q(window_calls__gte=models.F("minimum_calls")),
                name="circuit_breakers_window",
                violation_error_message="The window must hold the failure threshold and the minimum calls.",
            ),
            models.CheckConstraint(condition=models.Q(open_s__gt=0, permit_s__gt=0), name="circuit_breakers_intervals"),
            models.CheckConstraint(condition=models.Q(last_state__in=ShownState.values), name="circuit_breakers_state"),
        ]

    def __str__(self) -> str:
        return self.name

    def settings(self) -> Settings:
        """The row as the state machine takes it; raises `ValueError` where its numbers contradict."""
        config = Config(
            failure_threshold=self.failure_threshold,
            minimum_calls=self.minimum_calls,
            window_calls=self.window_calls,
            open_s=self.open_s,
            half_open_permits=self.half_open_permits,
            permit_s=self.permit_s,
        )
        return Settings(
            config=config,
            order_path=self.order_path,
            forced_open=self.forced_open,
            description=self.description,
        )


class CircuitBreakerEvent(models.Model):
    """One transition of one breaker: append-only, and it outlives the breaker's row."""

    ts = models.DateTimeField(db_index=True)
    breaker = models.ForeignKey(
        CircuitBreaker,
        to_field="name",
        db_column="name",
        db_index=False,  # breaker_events_by_name begins with it
        db_constraint=False,  # a breaker may act before its row is there, and history outlives it
        on_delete=models.DO_NOTHING,
        related_name="events",
    )
    before = models.CharField(max_length=16, choices=ShownState.choices)
    after = models.CharField(max_length=16, choices=ShownState.choices)
    reason = models.CharField(max_length=200, blank=True)
    actor = models.CharField(max_length=64, default="system")
    shared = models.BooleanField(default=True, help_text="False: one worker decided alone while Redis was away.")

    class Meta:
        db_table = "circuit_breaker_events"
        ordering = ["-id"]
        indexes: ClassVar = [models.Index(fields=["breaker", "-ts"], name="breaker_events_by_name")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(before__in=ShownState.values, after__in=ShownState.values),
                name="circuit_breaker_events_states",
            )
        ]

    def __str__(self) -> str:
        return f"{self.breaker_id}: {self.before} -> {self.after}"
