"""Shapes of flags and breakers as clients see them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from helios.breakers import services
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent, ShownState
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from helios.modules.models import Module


class FlagSerializer(serializers.ModelSerializer[FeatureFlag]):
    """One flag as it is evaluated."""

    class Meta:
        model = FeatureFlag
        fields: tuple[str, ...] = (
            "name",
            "enabled",
            "strategy",
            "percentage",
            "whitelist",
            "blacklist",
            "gradual_start",
            "gradual_end",
            "stickiness",
            "description",
            "owner",
            "expires_at",
            "generation",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class FlagChange(serializers.ModelSerializer[FeatureFlagHistory]):
    class Meta:
        model = FeatureFlagHistory
        fields = ("ts", "action", "actor", "reason", "before", "after", "generation")
        read_only_fields = fields


class FlagDetailSerializer(FlagSerializer):
    """One flag with its last 20 changes, newest first."""

    history = serializers.SerializerMethodField()

    class Meta(FlagSerializer.Meta):
        fields = (*FlagSerializer.Meta.fields, "history")
        read_only_fields = fields

    @extend_schema_field(FlagChange(many=True))
    def get_history(self, flag: FeatureFlag) -> list[dict[str, Any]]:
        changes = flag.history.all()[:20]
        return list(FlagChange(changes, many=True).data)


class BreakerSerializer(serializers.ModelSerializer[CircuitBreaker]):
    """One breaker: how it is set, and where it stands now.

    While Redis is away `state_known` is false and `state` is the last one recorded.
    """

    state = serializers.SerializerMethodField()
    state_known = serializers.SerializerMethodField()
    state_text = serializers.SerializerMethodField()
    recent_failures = serializers.SerializerMethodField()
    recent_calls = serializers.SerializerMethodField()
    open_for_s = serializers.SerializerMethodField()

    class Meta:
        model = CircuitBreaker
        fields: tuple[str, ...] = (
            "name",
            "description",
            "state",
            "state_known",
            "state_text",
            "recent_failures",
            "recent_calls",
            "open_for_s",
            "failure_threshold",
            "minimum_calls",
            "window_calls",
            "open_s",
            "half_open_permits",
            "permit_s",
            "order_path",
            "forced_open",
            "last_state_at",
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

    def get_recent_failures(self, _: CircuitBreaker) -> int:
        return self._status.failures

    def get_recent_calls(self, _: CircuitBreaker) -> int:
        return self._status.calls

    def get_open_for_s(self, _: CircuitBreaker) -> float:
        return self._status.open_for_s


class BreakerTransition(serializers.ModelSerializer[CircuitBreakerEvent]):
    class Meta:
        model = CircuitBreakerEvent
        fields = ("ts", "before", "after", "reason", "actor", "shared")
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


class ModuleSerializer(serializers.ModelSerializer[Module]):
    """One module as the registry knows it."""

    class Meta:
        model = Module
        fields = (
            "name",
            "path",
            "version",
            "dependencies",
            "hot_reloadable",
            "state",
            "error",
            "generation",
            "loaded_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class ModuleStatusSerializer(serializers.ModelSerializer[Module]):
    """Whether a module is in use, and why not."""

    needed_by = serializers.SerializerMethodField()

    class Meta:
        model = Module
        fields = ("name", "version", "state", "error", "generation", "loaded_at", "dependencies", "needed_by")
        read_only_fields = fields

    def get_needed_by(self, module: Module) -> list[str]:
        """Modules that depend on this one."""
        users = Module.objects.filter(dependencies__has_key=module.name)
        return list(users.order_by("name").values_list("name", flat=True))


class ControlPlaneStatus(serializers.Serializer[dict[str, Any]]):
    """Counts that tell at a glance whether anything is off its default path."""

    flags_on = serializers.IntegerField()
    flags_off = serializers.IntegerField()
    flag_generation = serializers.IntegerField()
    breakers = serializers.DictField(child=serializers.IntegerField(), help_text="number of breakers by state")
    modules = serializers.DictField(child=serializers.IntegerField(), help_text="number of modules by state")
    now = serializers.DateTimeField()
