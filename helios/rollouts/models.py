"""Rollouts, what was measured of them, and what was done with them: fields and constraints, nothing else."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from helios.db.json_values import shape_check
from helios.rollouts.core.assignment import Arm, Kind
from helios.rollouts.core.machine import LIVE, Cause, State, Verdict

LIVE_STATES = sorted(LIVE)


class Rollout(models.Model):
    """One delivery. `helios.rollouts.services` changes it: saved by hand it leaves no history."""

    name = models.CharField(max_length=100, help_text="Free again once the rollout has ended.")
    description = models.TextField(blank=True, default="")
    kind = models.CharField(max_length=8, choices=[(each.value, each.value) for each in Kind])
    target = models.CharField(max_length=100, help_text="The slot of a module, or the book of a strategy.")
    champion = models.CharField(max_length=300, help_text="What serves so far.")
    challenger = models.CharField(max_length=200, help_text="Label of the version, or name of the strategy.")
    params = models.JSONField(default=dict, blank=True, help_text="Parameters of a challenging strategy.")
    books = ArrayField(models.CharField(max_length=100), default=list, blank=True, help_text="Empty: all books.")
    steps = models.JSONField(help_text="The plan; see helios.rollouts.core.rollout_plan.")
    guards = models.JSONField(help_text="Limits of an analysis; see helios.rollouts.core.guards.")
    inconclusive_limit = models.PositiveSmallIntegerField(default=3)
    error_limit = models.PositiveSmallIntegerField(default=3)

    state = models.CharField(max_length=12, choices=[(each.value, each.value) for each in State], default="PENDING")
    step = models.PositiveSmallIntegerField(default=0)
    n_inconclusive = models.PositiveSmallIntegerField(default=0)
    n_errors = models.PositiveSmallIntegerField(default=0)
    cause = models.CharField(
        max_length=20, choices=[(each.value, each.value) for each in Cause], blank=True, default=""
    )
    reason = models.TextField(blank=True, default="", help_text="Why it is paused, or ended as it did.")
    version = models.BigIntegerField(default=0, help_text="Grows with every move of this rollout.")
    actor = models.CharField(max_length=150, help_text="Who made it.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    started_at = models.DateTimeField(null=True, blank=True)
    measured_since = models.DateTimeField(
        null=True, blank=True, help_text="Decisions before this moment do not count for the step."
    )
    next_analysis_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "rollouts"
        ordering = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["state", "next_analysis_at"], condition=Q(state__in=LIVE_STATES), name="rollouts_due")
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name"], condition=Q(state__in=LIVE_STATES), name="rollouts_live_name"),
            models.UniqueConstraint(
                fields=["kind", "target"], condition=Q(state__in=LIVE_STATES), name="rollouts_one_a_target"
            ),
            models.CheckConstraint(
                condition=Q(name__regex=r"^[A-Za-z0-9][A-Za-z0-9_.~-]*$"),
                name="rollouts_name",
                violation_error_message="a rollout's name must be letters, digits or _ . ~ -",
            ),
            models.CheckConstraint(condition=Q(kind__in=[each.value for each in Kind]), name="rollouts_kind"),
            models.CheckConstraint(condition=Q(state__in=[each.value for each in State]), name="rollouts_state"),
            models.CheckConstraint(
                condition=~Q(state="PAUSED") | (~Q(cause="") & ~Q(reason="")), name="rollouts_paused_with_reason"
            ),
            models.CheckConstraint(
                condition=~Q(state="RUNNING") | Q(next_analysis_at__isnull=False, measured_since__isnull=False),
                name="rollouts_running_has_times",
            ),
            models.CheckConstraint(
                condition=Q(state__in=LIVE_STATES, ended_at__isnull=True)
                | (~Q(state__in=LIVE_STATES) & Q(ended_at__isnull=False)),
                name="rollouts_ended_when_over",
            ),
            models.CheckConstraint(condition=Q(inconclusive_limit__gte=1, error_limit__gte=1), name="rollouts_limits"),
            models.CheckConstraint(condition=~Q(actor=""), name="rollouts_actor"),
        ]

    def __str__(self) -> str:
        return self.name


class RolloutAnalysis(models.Model):
    """One reading of a step: verdict and numbers. Append-only."""

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="analyses")
    at = models.DateTimeField()
    step = models.PositiveSmallIntegerField()
    verdict = models.CharField(max_length=12, choices=[(each.value, each.value) for each in Verdict])
    hard = models.BooleanField(default=False, help_text="A hard guard failed.")
    reason = models.TextField(blank=True)
    numbers = models.JSONField(default=dict, help_text="Each guard's value, limit and outcome; each arm's numbers.")

    class Meta:
        db_table = "rollout_analyses"
        ordering = ["-id"]
        verbose_name_plural = "rollout analyses"
        indexes: ClassVar = [models.Index(fields=["rollout", "-id"], name="rollout_analyses_of_rollout")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(verdict__in=[each.value for each in Verdict]), name="rollout_analyses_verdict"
            ),
            models.CheckConstraint(
                condition=Q(hard=False) | Q(verdict="Failed"), name="rollout_analyses_hard_is_failed"
            ),
            shape_check("object", "rollout_analyses", "numbers"),
        ]

    def __str__(self) -> str:
        return f"{self.rollout_id} step {self.step}: {self.verdict}"


class RolloutEvent(models.Model):
    """One move of a rollout: who, when, from where to where, why. Append-only."""

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="history")
    at = models.DateTimeField()
    action = models.CharField(max_length=24)
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True, default="")
    before = models.JSONField(null=True)
    after = models.JSONField()

    class Meta:
        db_table = "rollout_history"
        ordering = ["-id"]
        verbose_name_plural = "rollout history"
        indexes: ClassVar = [models.Index(fields=["rollout", "-id"], name="rollout_history_of_rollout")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(actor=""), name="rollout_history_actor"),
            shape_check("object", "rollout_history", "after"),
        ]

    def __str__(self) -> str:
        return f"{self.rollout_id} {self.action} by {self.actor}"


class RolloutDecision(models.Model):
    """What one arm said about one symbol in one cycle. Append-only; `cycle_id` names a row of a floor above."""

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="decisions", db_index=False)
    step = models.PositiveSmallIntegerField()
    arm = models.CharField(max_length=10, choices=[(each.value, each.value) for each in Arm])
    shadow = models.BooleanField(help_text="Nothing followed from it.")
    cycle_id = models.BigIntegerField()
    bar_ts = models.DateTimeField()
    symbol = models.CharField(max_length=64)
    value = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    latency_ms = models.FloatField(null=True)
    error = models.CharField(max_length=500, blank=True, default="")
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "rollout_decisions"
        ordering = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["rollout", "step", "arm", "recorded_at"], name="rollout_decisions_of_arm")
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rollout", "cycle_id", "symbol", "arm"], name="rollout_decisions_once"),
            models.CheckConstraint(condition=Q(arm__in=[each.value for each in Arm]), name="rollout_decisions_arm"),
        ]

    def __str__(self) -> str:
        return f"{self.rollout_id} {self.arm} {self.symbol} at {self.bar_ts}"
