"""Shapes of breakers and their transitions."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from helios.breakers import selectors
from helios.breakers.core.config import FIELDS, MAX_MULTIPLIER, MAX_SECONDS, MAX_WINDOW_CALLS, Mode
from helios.breakers.core.machine import State
from helios.breakers.fields import MAX_DESCRIPTION
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent, ShownState
from helios.web.shapes import (
    SLUG,
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
)

MODES: Final = [each.value for each in Mode]
LEAST_S: Final = 0.001


class BreakerFilter(Query):
    order_path = serializers.BooleanField(required=False)
    mode = serializers.ChoiceField(choices=MODES, required=False)
    ordering = ordering("name", "updated_at", "last_state_at")


class BreakerFields(Reasoned):
    """What can be set on a breaker; 0 leaves a limit out."""

    description = StrictText(required=False, allow_blank=True, max_length=MAX_DESCRIPTION)
    failure_threshold = StrictInteger(required=False, min_value=0, max_value=MAX_WINDOW_CALLS)
    failure_rate = StrictFloat(required=False, min_value=0, max_value=1)
    slow_call_s = StrictFloat(required=False, min_value=0, max_value=MAX_SECONDS)
    slow_call_rate = StrictFloat(required=False, min_value=0, max_value=1)
    minimum_calls = StrictInteger(required=False, min_value=1, max_value=MAX_WINDOW_CALLS)
    window_calls = StrictInteger(required=False, min_value=0, max_value=MAX_WINDOW_CALLS)
    window_s = StrictFloat(required=False, min_value=0, max_value=MAX_SECONDS)
    open_s = StrictFloat(required=False, min_value=LEAST_S, max_value=MAX_SECONDS)
    open_multiplier = StrictFloat(required=False, min_value=1, max_value=MAX_MULTIPLIER)
    open_max_s = StrictFloat(required=False, min_value=0, max_value=MAX_SECONDS)
    open_jitter = StrictFloat(required=False, min_value=0, max_value=1)
    half_open_permits = StrictInteger(required=False, min_value=1, max_value=MAX_WINDOW_CALLS)
    permit_s = StrictFloat(required=False, min_value=LEAST_S, max_value=MAX_SECONDS)
    order_path = StrictBoolean(
        required=False, help_text="guards orders: it always acts, and refuses while Redis is away"
    )


class NewBreaker(BreakerFields):
    name = Name(SLUG, help_text="how code asks for it; it never changes")

    def validate_name(self, name: str) -> str:
        if name == "reset-all":
            raise serializers.ValidationError("must not be an address below circuit-breakers/, reset-all is")
        return name


class BreakerPatch(BreakerFields, Versioned):
    """The settings to change."""


class BreakerSerializer(ReadOnlySerializer[CircuitBreaker]):
    """One breaker: how it is set, and where it stands now.

    While Redis is away `state_known` is false and `state` is the last one recorded.
    """

    mode = serializers.ChoiceField(choices=MODES, read_only=True)
    state = serializers.ChoiceField(choices=ShownState.choices, source="status.state", read_only=True)
    circuit = serializers.ChoiceField(
        choices=[each.value for each in State],
        source="status.circuit",
        read_only=True,
        help_text="Where the machine stands below the mode that a person set.",
    )
    state_known = serializers.BooleanField(source="status.known", read_only=True)
    state_text = serializers.CharField(source="status.sentence", read_only=True)
    opens_at = serializers.CharField(read_only=True, help_text="its limits in words")
    recent_calls = serializers.IntegerField(source="status.calls", read_only=True)
    recent_failures = serializers.IntegerField(source="status.failures", read_only=True)
    recent_slow = serializers.IntegerField(source="status.slow", read_only=True)
    recent_failure_rate = serializers.FloatField(source="status.failure_rate", read_only=True)
    open_for_s = serializers.FloatField(source="status.open_for_s", read_only=True)
    probes = serializers.IntegerField(source="status.probes", read_only=True, help_text="Probes under way.")
    forced_open = serializers.BooleanField(read_only=True)

    class Meta:
        model = CircuitBreaker
        fields: tuple[str, ...] = (
            *("name", "description", "mode", "state", "circuit", "state_known", "state_text", "opens_at"),
            *("recent_calls", "recent_failures", "recent_slow", "recent_failure_rate", "open_for_s", "probes"),
            *FIELDS,
            *("order_path", "forced_open", "version", "last_state_at", "created_at", "updated_at"),
        )

    def to_representation(self, instance: CircuitBreaker) -> dict[str, Any]:
        instance.status = selectors.status(instance)  # type: ignore[attr-defined] # asked once a row
        return super().to_representation(instance)


class BreakerTransition(ReadOnlySerializer[CircuitBreakerEvent]):
    """One transition, or what a person did. Append-only."""

    changes = serializers.DictField(read_only=True, help_text="settings that changed: before and after")

    class Meta:
        model = CircuitBreakerEvent
        fields = ("id", "ts", "action", "before", "after", "reason", "actor", "shared", "enforced", "changes")


class BreakerDetailSerializer(BreakerSerializer):
    """One breaker with its last 20 transitions, newest first."""

    events = serializers.SerializerMethodField()

    class Meta(BreakerSerializer.Meta):
        fields = (*BreakerSerializer.Meta.fields, "events")

    @extend_schema_field(BreakerTransition(many=True))
    def get_events(self, breaker: CircuitBreaker) -> list[dict[str, Any]]:
        return list(BreakerTransition(breaker.events.all()[:20], many=True).data)


class ResetNames(serializers.Serializer[Any]):
    reset = serializers.ListField(child=serializers.CharField())
