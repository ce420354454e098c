from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from helios.breakers.catalog import Settings
from helios.breakers.core.config import FIELDS, Config, Mode


class ShownState(models.TextChoices):
    """States as people see them: the machine's own, and the two that a person sets."""

    CLOSED = "CLOSED", "closed"
    OPEN = "OPEN", "open"
    HALF_OPEN = "HALF_OPEN", "half-open"
    FORCED_OPEN = "FORCED_OPEN", "forced open"
    METRICS_ONLY = "METRICS_ONLY", "metrics only"


class Action(models.TextChoices):
    """What a line of history tells of: a move of the circuit itself, or what a person did."""

    TRANSITION = "transition", "transition"
    FORCE_OPEN = "force_open", "forced open"
    CLOSE = "close", "closed"
    RESET = "reset", "reset"
    METRICS_ONLY = "metrics_only", "set to measure only"
    NORMAL = "normal", "set to act"
    CREATE = "create", "created"
    CONFIGURE = "configure", "configured"
    DELETE = "delete", "deleted"


class CircuitBreaker(models.Model):
    """How one breaker behaves. Counts live in Redis; the last state here is only for people to read."""

    name = models.SlugField(max_length=64, unique=True)
    description = models.CharField(max_length=200, blank=True)
    mode = models.CharField(
        max_length=16,
        choices=[(each.value, each.value.replace("_", " ")) for each in Mode],
        default=Mode.NORMAL.value,
        editable=False,
    )
    failure_threshold = models.PositiveIntegerField(
        "opens at failures", default=5, help_text="This many failures among the last calls open it. 0: no such limit."
    )
    failure_rate = models.FloatField(
        "opens at failure rate",
        default=0.0,
        help_text="Opens at this share of failures, from 0 to 1. 0: no such limit.",
    )
    slow_call_s = models.FloatField(
        "slow from (seconds)", default=0.0, help_text="A call that took longer is slow. 0: nobody looks at the time."
    )
    slow_call_rate = models.FloatField(
        "opens at slow rate", default=0.0, help_text="Opens at this share of slow calls, from 0 to 1. 0: no such limit."
    )
    minimum_calls = models.PositiveIntegerField(
        default=5, help_text="Never opens with fewer calls in the window than this."
    )
    window_calls = models.PositiveIntegerField(
        default=10, help_text="How many of the last calls are looked at. 0: only the time bounds the window."
    )
    window_s = models.FloatField(
        "window (seconds)", default=0.0, help_text="Older calls do not count. 0: calls never grow too old."
    )
    open_s = models.FloatField("open for (seconds)", default=60.0, help_text="How long calls are refused.")
    open_multiplier = models.FloatField(
        "longer each time by",
        default=1.0,
        help_text="What the interval is multiplied by at every opening that soon follows another. 1: always the same.",
    )
    open_max_s = models.FloatField(
        "open at most (seconds)", default=0.0, help_text="Where the growth ends; needed where there is some."
    )
    open_jitter = models.FloatField(
        "jitter", default=0.0, help_text="Spreads the interval to both sides by up to this share, from 0 to 1."
    )
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
        help_text="Guards orders: it always acts, even when the flag circuit_breakers is off, and refuses calls "
        "while the shared state cannot be reached. Orders that only reduce a position always pass.",
    )
    version = models.PositiveIntegerField(default=1, editable=False, help_text="Grows with every change by a person.")
    last_state = models.CharField(max_length=16, choices=ShownState.choices, default=ShownState.CLOSED, editable=False)
    last_state_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "circuit_breakers"
        ordering = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(minimum_calls__gte=1, half_open_permits__gte=1), name="circuit_breakers_counts"
            ),
            models.CheckConstraint(
                condition=Q(failure_threshold__gte=1) | Q(failure_rate__gt=0),
                name="circuit_breakers_limits",
                violation_error_message="The number or the rate of failures that opens it must be set.",
            ),
            models.CheckConstraint(
                condition=Q(window_calls=0, window_s__gt=0)
                | Q(window_calls__gte=F("failure_threshold")) & Q(window_calls__gte=F("minimum_calls")),
                name="circuit_breakers_window",
                violation_error_message="The window must hold the failure threshold and the minimum calls.",
            ),
            models.CheckConstraint(
                condition=Q(open_s__gt=0, permit_s__gt=0, window_s__gte=0, slow_call_s__gte=0, open_max_s__gte=0),
                name="circuit_breakers_intervals",
            ),
            models.CheckConstraint(
                condition=Q(open_max_s=0, open_multiplier=1)
                | Q(open_max_s__gte=F("open_s"), open_multiplier__gte=1, open_multiplier__lte=10),
                name="circuit_breakers_growth",
                violation_error_message="An interval that grows needs an end, no shorter than the interval itself.",
            ),
            models.CheckConstraint(
                condition=Q(
                    failure_rate__gte=0,
                    failure_rate__lte=1,
                    slow_call_rate__gte=0,
                    slow_call_rate__lte=1,
                    open_jitter__gte=0,
                    open_jitter__lte=1,
                ),
                name="circuit_breakers_shares",
                violation_error_message="Rates and jitter are shares from 0 to 1.",
            ),
            models.CheckConstraint(
                condition=Q(slow_call_rate=0) | Q(slow_call_s__gt=0),
                name="circuit_breakers_slow",
                violation_error_message="A rate of slow calls needs the time from which a call is slow.",
            ),
            models.CheckConstraint(condition=Q(mode__in=[each.value for each in Mode]), name="circuit_breakers_mode"),
            models.CheckConstraint(
                condition=Q(order_path=False) | ~Q(mode=Mode.METRICS_ONLY.value),
                name="circuit_breakers_order_path_acts",
                violation_error_message="A breaker that guards orders always acts: it cannot only measure.",
            ),
            models.CheckConstraint(condition=Q(last_state__in=ShownState.values), name="circuit_breakers_state"),
        ]

    def __str__(self) -> str:
        return self.name

    def settings(self) -> Settings:
        """The row as the state machine takes it; raises `ValueError` where its numbers contradict."""
        return Settings(
            config=Config(**{field: getattr(self, field) for field in FIELDS}),
            order_path=self.order_path,
            mode=Mode(self.mode),
            description=self.description,
        )

    def opens_at(self) -> str:
        """The limits in plain words."""
        limits = [f"{self.failure_threshold} failures"] if self.failure_threshold else []
        limits += [f"{self.failure_rate:.0%} failures"] if self.failure_rate else []
        limits += [f"{self.slow_call_rate:.0%} slower than {self.slow_call_s:g} s"] if self.slow_call_rate else []
        bounds = [f"the last {self.window_calls} calls"] if self.window_calls else []
        bounds += [f"the last {self.window_s:g} s"] if self.window_s else []
        growth = f", up to {self.open_max_s:g} s" if self.open_multiplier > 1 else ""
        return f"{' or '.join(limits)} in {' within '.join(bounds)}, for {self.open_s:g} s{growth}"

    @property
    def forced_open(self) -> bool:
        """Whether a person has opened it."""
        return self.mode == Mode.FORCED_OPEN


class CircuitBreakerEvent(models.Model):
    """One transition of one breaker, or one change by a person: append-only, and it outlives the breaker's row."""

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
    actor = models.CharField(max_length=150, default="system")
    action = models.CharField(max_length=16, choices=Action.choices, default=Action.TRANSITION)
    shared = models.BooleanField(default=True, help_text="False: one worker decided alone while Redis was away.")
    enforced = models.BooleanField(default=True, help_text="False: it only measured, and refused nothing.")
    changes = models.JSONField(default=dict, blank=True, help_text="Settings that changed: before and after.")

    class Meta:
        db_table = "circuit_breaker_events"
        ordering = ["-id"]
        indexes: ClassVar = [models.Index(fields=["breaker", "-ts"], name="breaker_events_by_name")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(before__in=ShownState.values, after__in=ShownState.values),
                name="circuit_breaker_events_states",
            ),
            models.CheckConstraint(
                condition=Q(action__in=Action.values) & ~Q(actor=""), name="circuit_breaker_events_action"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.breaker_id}: {self.before} -> {self.after}"

    def difference(self) -> str:
        """The settings that changed, in one line; empty where none did."""
        changed = sorted(self.changes.items())
        return ", ".join(f"{name}: {before} -> {after}" for name, (before, after) in changed)
