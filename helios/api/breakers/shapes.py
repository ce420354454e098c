"""Shapes of breakers and their transitions."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from helios.api.flags.shapes import Versioned
from helios.breakers import services
from helios.breakers.core.config import FIELDS, MAX_MULTIPLIER, MAX_SECONDS, MAX_WINDOW_CALLS, Mode
from helios.breakers.core.machine import State
from helios.breakers.fields import MAX_DESCRIPTION
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent, ShownState
from helios.web.base_views import ordering
from helios.web.shapes import Query, Real, Reasoned, Text, Truth, Whole

MODES: Final = [each.value for each in Mode]
LEAST_S: Final = 0.001


class _Slug(Text, serializers.RegexField):
    """A breaker's name."""


class BreakerFilter(Query):
    order_path = serializers.BooleanField(required=False)
    mode = serializers.ChoiceField(choices=MODES, required=False)
    ordering = ordering("name", "updated_at", "last_state_at")


class BreakerFields(Reasoned):
    """What can be set on a breaker; 0 leaves a limit out."""

    description = Text(required=False, allow_blank=True, max_length=MAX_DESCRIPTION)
    failure_threshold = Whole(required=False, min_value=0, max_value=MAX_WINDOW_CALLS)
    failure_rate = Real(required=False, min_value=0, max_value=1)
    slow_call_s = Real(required=False, min_value=0, max_value=MAX_SECONDS)
    slow_call_rate = Real(required=False, min_value=0, max_value=1)
    minimum_calls = Whole(required=False, min_value=1, max_value=MAX_WINDOW_CALLS)
    window_calls = Whole(required=False, min_value=0, max_value=MAX_WINDOW_CALLS)
    window_s = Real(required=False, min_value=0, max_value=MAX_SECONDS)
    open_s = Real(required=False, min_value=LEAST_S, max_value=MAX_SECONDS)
    open_multiplier = Real(required=False, min_value=1, max_value=MAX_MULTIPLIER)
    open_max_s = Real(required=False, min_value=0, max_value=MAX_SECONDS)
    open_jitter = Real(required=False, min_value=0, max_value=1)
    half_open_permits = Whole(required=False, min_value=1, max_value=MAX_WINDOW_CALLS)
    permit_s = Real(required=False, min_value=LEAST_S, max_value=MAX_SECONDS)
    order_path = Truth(required=False, help_text="guards orders: it always acts, and refuses while Redis is away")


class NewBreaker(BreakerFields):
    name = _Slug(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", help_text="how code asks for it; it never changes")

    def validate_name(self, name: str) -> str:
        if name == "reset-all":
            raise serializers.ValidationError("must not be an address below circuit-breakers/, reset-all is")
        return name


class BreakerPatch(BreakerFields, Versioned):
    """The settings to change."""


class BreakerSerializer(serializers.ModelSerializer[CircuitBreaker]):
    """One breaker: how it is set, and where it stands now.

    While Redis is away `state_known` is false and `state` is the last one recorded.
    """

    mode = serializers.ChoiceField(choices=MODES, read_only=True)
    state = serializers.SerializerMethodField()
    circuit = serializers.SerializerMethodField()
    state_known = serializers.SerializerMethodField()
    state_text = serializers.SerializerMethodField()
    opens_at = serializers.CharField(read_only=True, help_text="its limits in words")
    recent_calls = serializers.SerializerMethodField()
    recent_failures = serializers.SerializerMethodField()
    recent_slow = serializers.SerializerMethodField()
    recent_failure_rate = serializers.SerializerMethodField()
    open_for_s = serializers.SerializerMethodField()
    probes = serializers.SerializerMethodField()
    forced_open = serializers.BooleanField(read_only=True)

    class Meta:
        model = CircuitBreaker
        fields: tuple[str, ...] = (
            "name",
            "description",
            "mode",
            "state",
            "circuit",
            "state_known",
            "state_text",
            "opens_at",
            "recent_calls",
            "recent_failures",
            "recent_slow",
            "recent_failure_rate",
            "open_for_s",
            "probes",
            *FIELDS,
            "order_path",
            "forced_open",
            "version",
            "last_state_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    def to_representation(self, instance: CircuitBreaker) -> dict[str, Any]:
        self._status = services.status(instance)  # asked once a row, read by the fields below
        return super().to_representation(instance)

    @extend_schema_field(serializers.ChoiceField(choices=ShownState.choices))
    def get_state(self, _: CircuitBreaker) -> str:
        return self._status.state

    def get_state_known(self, _: CircuitBreaker) -> bool:
        return self._status.known

    def get_state_text(self, _: CircuitBreaker) -> str:
        return self._status.sentence()

    @extend_schema_field(serializers.ChoiceField(choices=[each.value for each in State]))
    def get_circuit(self, _: CircuitBreaker) -> str:
        """Where the machine stands below the mode that a person set."""
        return self._status.circuit

    def get_recent_calls(self, _: CircuitBreaker) -> int:
        return self._status.calls

    def get_recent_failures(self, _: CircuitBreaker) -> int:
        return self._status.failures

    def get_recent_slow(self, _: CircuitBreaker) -> int:
        return self._status.slow

    def get_recent_failure_rate(self, _: CircuitBreaker) -> float:
        return self._status.failure_rate

    def get_probes(self, _: CircuitBreaker) -> int:
        """Probes under way."""
        return self._status.probes

    def get_open_for_s(self, _: CircuitBreaker) -> float:
        return self._status.open_for_s


class BreakerTransition(serializers.ModelSerializer[CircuitBreakerEvent]):
    """One transition, or what a person did. Append-only."""

    changes = serializers.DictField(read_only=True, help_text="settings that changed: before and after")

    class Meta:
        model = CircuitBreakerEvent
        fields = ("id", "ts", "action", "before", "after", "reason", "actor", "shared", "enforced", "changes")
        read_only_fields = fields


class BreakerDetailSerializer(BreakerSerializer):
    """One breaker with its last 20 transitions, newest first."""

    events = serializers.SerializerMethodField()

    class Meta(BreakerSerializer.Meta):
        fields = (*BreakerSerializer.Meta.fields, "events")
        read_only_fields = fields

    @extend_schema_field(BreakerTransition(many=True))
    def get_events(self, breaker: CircuitBreaker) -> list[dict[str, Any]]:
        return list(BreakerTransition(breaker.events.all()[:20], many=True).data)


class ResetNames(serializers.Serializer[Any]):
    reset = serializers.ListField(child=serializers.CharField())
