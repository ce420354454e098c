"""Flags, segments and their history: fields and constraints, nothing else."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from helios.db.json_values import shape_check
from helios.flags.core.definition import Strategy

State = dict[str, Any]  # one flag as plain JSON values, as history and the command line show it
JSON_LISTS = ("schedule", "constraints", "prerequisites", "rules", "variants")


class FeatureFlag(models.Model):
    """One flag. `helios.flags.services` changes it: saved by hand it leaves no history and nobody hears."""

    name = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=False)
    strategy = models.CharField(
        max_length=16,
        choices=[(each.value, each.value.replace("_", " ")) for each in Strategy],
        default="all_on",
    )
    resume_strategy = models.CharField(
        max_length=16, blank=True, default="", help_text="the strategy that a killed flag returns to"
    )
    percentage = models.SmallIntegerField(
        default=0, help_text="0 to 100: the share served, or the share at which a gradual ramp ends"
    )
    whitelist = ArrayField(models.CharField(max_length=128), default=list, blank=True)
    blacklist = ArrayField(models.CharField(max_length=128), default=list, blank=True)
    gradual_from = models.SmallIntegerField(
        default=0, help_text="0 to 100: the share at which a gradual ramp begins; it ends at `percentage`"
    )
    gradual_start = models.DateTimeField(null=True, blank=True)
    gradual_end = models.DateTimeField(null=True, blank=True)
    schedule = models.JSONField(
        default=list, blank=True, help_text="steps of the percentage: [{at, percentage}], the times ascending"
    )
    stickiness = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="what a percentage holds on; empty: the first of symbol, user, strategy, system",
    )
    group_id = models.CharField(
        max_length=100, blank=True, default="", help_text="flags of one group serve the same share; empty: its own name"
    )
    constraints = models.JSONField(
        default=list, blank=True, help_text="all of them must hold before the strategy is asked"
    )
    segments = ArrayField(
        models.CharField(max_length=100),
        default=list,
        blank=True,
        help_text="names of segments, whose constraints must hold as well",
    )
    environments = ArrayField(
        models.CharField(max_length=64), default=list, blank=True, help_text="on only in these; empty: in all"
    )
    prerequisites = models.JSONField(
        default=list, blank=True, help_text="flags that must be on, or off, first: [{feature, enabled, variants}]"
    )
    rules = models.JSONField(
        default=list, blank=True, help_text="Unleash activation strategies, of which one must hold, for strategy rules"
    )
    variants = models.JSONField(default=list, blank=True, help_text="[{name, weight, payload, stickiness, overrides}]")
    description = models.TextField(blank=True, default="")
    owner = models.CharField(max_length=128, blank=True, default="")
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="when the flag should be gone; evaluation does not change by it"
    )
    generation = models.BigIntegerField(default=0, help_text="the generation of the last change")
    version = models.PositiveBigIntegerField(
        default=0, help_text="grows by one with every change: tells the second of two editors that there was a first"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "feature_flags"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(name__regex=r"^[A-Za-z0-9][A-Za-z0-9_.~-]*$"),
                name="feature_flags_name",
                violation_error_message="a flag's name must be letters, digits or _ . ~ -",
            ),
            models.CheckConstraint(
                condition=Q(strategy__in=[each.value for each in Strategy]), name="feature_flags_strategy"
            ),
            models.CheckConstraint(
                condition=Q(percentage__gte=0, percentage__lte=100),
                name="feature_flags_percentage",
                violation_error_message="percentage must be a whole number from 0 to 100",
            ),
            models.CheckConstraint(
                condition=Q(gradual_start__isnull=True, gradual_end__isnull=True)
                | Q(gradual_start__isnull=False, gradual_end__isnull=False, gradual_end__gt=F("gradual_start")),
                name="feature_flags_gradual_times",
                violation_error_message="a gradual ramp must have both a start and an end, the end after the start",
            ),
            models.CheckConstraint(
                condition=(Q(strategy="kill_switch", enabled=False) & ~Q(resume_strategy=""))
                | (~Q(strategy="kill_switch") & Q(resume_strategy="")),
                name="feature_flags_killed_is_disabled",
                violation_error_message="a killed flag must be disabled and name the strategy it returns to",
            ),
            models.CheckConstraint(condition=Q(generation__gte=0), name="feature_flags_generation"),
            models.CheckConstraint(
                condition=Q(gradual_from__gte=0, gradual_from__lte=100),
                name="feature_flags_gradual_from",
                violation_error_message="gradual_from must be a whole number from 0 to 100",
            ),
            *(shape_check("list", "feature_flags", field) for field in JSON_LISTS),
        ]

    def __str__(self) -> str:
        return self.name


class FlagSegment(models.Model):
    """A named set of constraints that flags share. Changed by `helios.flags.segments` only."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True, default="")
    constraints = models.JSONField(default=list, blank=True, help_text="all of them must hold")
    generation = models.BigIntegerField(default=0, help_text="the generation of the last change")
    version = models.PositiveBigIntegerField(default=0, help_text="grows by one with every change")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "flag_segments"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(name__regex=r"^[A-Za-z0-9][A-Za-z0-9_.~-]*$"),
                name="flag_segments_name",
                violation_error_message="a segment's name must be letters, digits or _ . ~ -",
            ),
            shape_check("list", "flag_segments", "constraints"),
        ]

    def __str__(self) -> str:
        return self.name


class _History(models.Model):
    """One change: who, when, before, after, why."""

    ts = models.DateTimeField(auto_now_add=True)
    action = models.CharField(max_length=32)
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True, default="")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    generation = models.BigIntegerField()

    class Meta:
        abstract = True


class FeatureFlagHistory(_History):
    """The changes of flags. Append-only, and it outlives its flag."""

    flag = models.ForeignKey(
        FeatureFlag,
        to_field="name",
        db_column="flag_name",
        db_constraint=False,  # a flag may go; what was done with it stays
        on_delete=models.DO_NOTHING,
        related_name="history",
    )

    class Meta:
        db_table = "feature_flag_history"
        ordering = ["-id"]
        verbose_name_plural = "feature flag history"
        indexes = [models.Index(fields=["flag", "-id"], name="feature_flag_history_of_flag")]
        constraints = [models.CheckConstraint(condition=~Q(actor=""), name="feature_flag_history_actor")]

    def __str__(self) -> str:
        return f"{self.flag_id} {self.action} by {self.actor}"


class FlagSegmentHistory(_History):
    """The changes of segments. Append-only, and it outlives its segment."""

    segment = models.ForeignKey(
        FlagSegment,
        to_field="name",
        db_column="segment_name",
        db_constraint=False,
        on_delete=models.DO_NOTHING,
        related_name="history",
    )

    class Meta:
        db_table = "flag_segment_history"
        ordering = ["-id"]
        verbose_name_plural = "flag segment history"
        indexes = [models.Index(fields=["segment", "-id"], name="flag_segment_history_of_seg")]
        constraints = [models.CheckConstraint(condition=~Q(actor=""), name="flag_segment_history_actor")]

    def __str__(self) -> str:
        return f"{self.segment_id} {self.action} by {self.actor}"
