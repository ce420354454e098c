"""Shapes of rollouts: plans as they are asked for, and where they stand."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from helios.rollouts import selectors
from helios.rollouts.core.assignment import Kind, Mode
from helios.rollouts.core.guards import METRICS, Strength
from helios.rollouts.core.machine import LIVE, State
from helios.rollouts.core.rollout_plan import MAX_INTERVAL_S, MAX_STEPS
from helios.rollouts.models import Rollout, RolloutAnalysis, RolloutEvent
from helios.web.shapes import (
    Body,
    Name,
    Query,
    ReadOnlySerializer,
    Reasoned,
    StrictBoolean,
    StrictFloat,
    StrictInteger,
    StrictText,
    Versioned,
    ordering,
    several,
    stored,
)

KINDS: Final = [each.value for each in Kind]
MODES: Final = [each.value for each in Mode]
STATES: Final = [each.value for each in State]
STRENGTHS: Final = [each.value for each in Strength]


class PlanStep(Body):
    """One step of the plan: replay, shadow, then growing shares."""

    kind = serializers.ChoiceField(choices=MODES)
    percentage = StrictInteger(required=False, min_value=0, max_value=100, help_text="of the symbols; for live steps")
    interval_s = StrictFloat(
        required=False, max_value=MAX_INTERVAL_S, help_text="from the step's begin to its analysis"
    )
    min_samples = StrictInteger(
        required=False, min_value=1, max_value=1_000_000, help_text="decisions that it needs at least"
    )


class Guard(Body):
    """The challenger fails when the metric is above the limit: hard rolls back, soft pauses."""

    metric = serializers.ChoiceField(choices=list(METRICS))
    limit = StrictFloat(min_value=0)
    kind = serializers.ChoiceField(choices=STRENGTHS)
    min_samples = StrictInteger(required=False, min_value=1, max_value=1_000_000)
    required = StrictBoolean(required=False)  # type: ignore[assignment] # a field called as DRF calls one of its own


class NewRollout(Reasoned):
    """A delivery. Without steps: replay, shadow, 1, 5, 25, 50, 100 %; without guards: those of its kind."""

    name = Name()
    kind = serializers.ChoiceField(choices=KINDS, default=Kind.MODULE.value)
    target = StrictText(max_length=100, help_text="the slot of a module, or the book of a strategy")
    challenger = StrictText(max_length=200, help_text="label or version of the module, or name of the strategy")
    params = serializers.DictField(required=False, help_text="of a challenging strategy")
    books = serializers.ListField(
        child=StrictText(max_length=100), required=False, max_length=100, help_text="empty: all"
    )
    steps = several(PlanStep, MAX_STEPS)
    guards = several(Guard, len(METRICS))
    inconclusive_limit = StrictInteger(default=3, min_value=1, max_value=1000)
    error_limit = StrictInteger(default=3, min_value=1, max_value=1000)
    description = StrictText(required=False, default="", allow_blank=True, max_length=2000)

    def validate_name(self, name: str) -> str:
        if name.isdecimal():
            raise serializers.ValidationError("must not be a number: numbers name rollouts that have ended")
        return name


class Promotion(Versioned):
    full = StrictBoolean(default=False, help_text="the challenger gets the whole place at once")


class RolloutFilter(Query):
    state = serializers.ChoiceField(choices=STATES, required=False)
    live = serializers.BooleanField(required=False, help_text="only those under way, or only those that ended")
    kind = serializers.ChoiceField(choices=KINDS, required=False)
    target = serializers.CharField(required=False, max_length=100)
    name = serializers.CharField(required=False, max_length=100)
    ordering = ordering("id", "updated_at", "name")


class RolloutSerializer(ReadOnlySerializer[Rollout]):
    """One delivery, and what it does now."""

    serves = serializers.SerializerMethodField()
    live = serializers.SerializerMethodField()
    steps = stored(PlanStep)
    guards = stored(Guard)

    class Meta:
        model = Rollout
        fields = (
            *("id", "name", "description", "kind", "target", "champion", "challenger", "params", "books"),
            *("state", "live", "step", "serves", "steps", "guards", "cause", "reason"),
            *("n_inconclusive", "n_errors", "inconclusive_limit", "error_limit", "version", "actor"),
            *("created_at", "updated_at", "started_at", "measured_since", "next_analysis_at", "ended_at"),
        )

    def get_serves(self, row: Rollout) -> str:
        """What the present step does, in a few words."""
        return selectors.step_of(row).serves

    def get_live(self, row: Rollout) -> bool:
        return row.state in LIVE


class Analysis(ReadOnlySerializer[RolloutAnalysis]):
    """One reading of a step: verdict, each guard's value and limit, each arm's numbers."""

    numbers = serializers.DictField()

    class Meta:
        model = RolloutAnalysis
        fields = ("id", "at", "step", "verdict", "hard", "reason", "numbers")


class RolloutMove(ReadOnlySerializer[RolloutEvent]):
    """One move: who, when, from where to where, why."""

    class Meta:
        model = RolloutEvent
        fields = ("id", "at", "action", "actor", "reason", "before", "after")


class Statistics(serializers.Serializer[Any]):
    """Both arms beside each other, means and rates with their 95 % intervals; a difference is the mean over bars."""

    rollout = serializers.CharField()
    step = serializers.IntegerField()
    serves = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True, help_text="decisions before do not count")
    source = serializers.ChoiceField(  # type: ignore[assignment]
        choices=["decisions", "analysis", "none"], help_text="what the numbers are from"
    )
    champion = serializers.DictField(allow_null=True)
    challenger = serializers.DictField(allow_null=True)
    difference = serializers.DictField(allow_null=True, help_text="challenger less champion")
