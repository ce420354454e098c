"""Shapes of flags, segments, their parts and their changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from helios.flags import judging, selectors
from helios.flags.core.definition import Strategy
from helios.flags.core.parts import Operator
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment
from helios.web.shapes import (
    MAX_PARTS,
    Body,
    Name,
    Query,
    ReadOnlySerializer,
    Reasoned,
    StrictBoolean,
    StrictDateTime,
    StrictInteger,
    StrictText,
    Versioned,
    ordering,
    several,
    stored,
)

CHOSEN: Final = [each.value for each in Strategy if each is not Strategy.KILL_SWITCH]
ALL_STRATEGIES: Final = [each.value for each in Strategy]
RESERVED: Final = ("enable", "disable", "percentage", "stale")  # addresses below feature-flags/


class _At(StrictDateTime):
    """A moment, kept as the text that a flag's column holds."""

    def to_internal_value(self, value: Any) -> Any:
        found: datetime = super().to_internal_value(value)
        return found.isoformat()


def _texts(limit: int = 128, most: int = 1000) -> serializers.ListField:
    return serializers.ListField(child=StrictText(max_length=limit), required=False, max_length=most)


class Constraint(Body):
    """A condition on one value of the context, in Unleash's words."""

    contextName = StrictText(  # noqa: N815 - Unleash's word
        max_length=100, help_text="symbol, user, strategy, system, environment or an attribute"
    )
    operator = serializers.ChoiceField(choices=[each.value for each in Operator])
    values = _texts(256)
    value = StrictText(required=False, allow_blank=True, max_length=256)
    inverted = StrictBoolean(required=False)
    caseInsensitive = StrictBoolean(required=False)  # noqa: N815


class Payload(Body):
    type = serializers.ChoiceField(choices=["string", "number", "json", "csv"])
    value = StrictText(allow_blank=True, max_length=10_000)


class Override(Body):
    contextName = StrictText(max_length=100)  # noqa: N815
    values = _texts(256)


class Variant(Body):
    """One of several answers; its share is its weight over the sum of all weights."""

    name = StrictText(max_length=100)
    weight = StrictInteger(min_value=0, max_value=1000)
    payload = Payload(required=False)
    stickiness = StrictText(required=False, max_length=64)
    overrides = several(Override)


class Rule(Body):
    """An Unleash activation strategy, for flags with the strategy `rules`: one of them must hold."""

    name = StrictText(max_length=100)
    parameters = serializers.DictField(child=StrictText(allow_blank=True, max_length=2000), required=False)
    constraints = several(Constraint)
    segments = _texts(100, MAX_PARTS)
    variants = several(Variant)


class Prerequisite(Body):
    """A flag that must be on (or off, or serve one of these variants) first."""

    feature = StrictText(max_length=100)
    enabled = StrictBoolean(required=False)
    variants = _texts(100, MAX_PARTS)


class Step(Body):
    """From `at` on the flag serves `percentage`."""

    at = _At()
    percentage = StrictInteger(min_value=0, max_value=100)


class _Bounded(Reasoned):
    """The fields of a flag or a segment, of which more than one may be is read no further."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            fields = {name: data[name] for name in data.keys() & self.fields.keys() - {"reason"}}
            judging.check_cost(str(data.get("name", "it"))[:100], fields)
        return super().to_internal_value(data)


class FlagFields(_Bounded):
    """What can be set on a flag; what is left out stays."""

    enabled = StrictBoolean(required=False)
    strategy = serializers.ChoiceField(choices=CHOSEN, required=False)
    percentage = StrictInteger(min_value=0, max_value=100, required=False)
    whitelist = _texts()
    blacklist = _texts()
    gradual_from = StrictInteger(min_value=0, max_value=100, required=False)
    gradual_start = StrictDateTime(required=False, allow_null=True)
    gradual_end = StrictDateTime(required=False, allow_null=True)
    schedule = several(Step)
    stickiness = StrictText(required=False, allow_blank=True, max_length=64)
    group_id = StrictText(required=False, allow_blank=True, max_length=100)
    environments = _texts(64, MAX_PARTS)
    segments = _texts(100, MAX_PARTS)
    constraints = several(Constraint)
    prerequisites = several(Prerequisite)
    rules = several(Rule)
    variants = several(Variant)
    description = StrictText(required=False, allow_blank=True, max_length=2000)
    owner = StrictText(required=False, allow_blank=True, max_length=128)
    expires_at = StrictDateTime(required=False, allow_null=True)


class NewFlag(FlagFields):
    name = Name(help_text="how code asks for it; it never changes")

    def validate_name(self, name: str) -> str:
        if name in RESERVED:
            raise serializers.ValidationError(f"must not be an address below feature-flags/, {name} is")
        return name


class FlagPatch(FlagFields, Versioned):
    """The fields to change."""


class Share(Versioned):
    percentage = StrictInteger(min_value=0, max_value=100)


class Entries(Versioned):
    entries = serializers.ListField(
        child=StrictText(max_length=128),
        min_length=1,
        max_length=1000,
        help_text="symbols, users, strategies or systems",
    )


class Restored(Versioned):
    entry = StrictInteger(
        required=False, min_value=1, help_text="number of the change in the history; else an archived flag"
    )


class _Named(Body):
    name = StrictText(required=False, max_length=100, help_text="the flag; or ?name=")


class NamedVersioned(_Named, Versioned):
    """The body style: which flag stands in the body or in the address."""


class NamedShare(_Named, Share):
    """The body style of percentage."""


class NameQuery(Query):
    name = serializers.CharField(required=False, max_length=100)


class FlagFilter(Query):
    """What the list of flags can be narrowed to."""

    enabled = serializers.BooleanField(required=False)
    strategy = serializers.ChoiceField(choices=ALL_STRATEGIES, required=False)
    owner = serializers.CharField(required=False, max_length=128)
    search = serializers.CharField(required=False, max_length=100, help_text="a part of name or description")
    ordering = ordering("name", "updated_at", "expires_at", "strategy")


class FlagSerializer(ReadOnlySerializer[FeatureFlag]):
    """One flag as it is evaluated, and in words whom it serves now."""

    strategy = serializers.ChoiceField(choices=ALL_STRATEGIES, read_only=True)
    serves = serializers.SerializerMethodField()
    schedule = stored(Step)
    constraints = stored(Constraint)
    prerequisites = stored(Prerequisite)
    rules = stored(Rule)
    variants = stored(Variant)

    class Meta:
        model = FeatureFlag
        fields: tuple[str, ...] = (
            *("name", "enabled", "strategy", "resume_strategy", "serves", "percentage", "whitelist", "blacklist"),
            *("gradual_from", "gradual_start", "gradual_end", "schedule", "stickiness", "group_id", "environments"),
            *("segments", "constraints", "prerequisites", "rules", "variants"),
            *("description", "owner", "expires_at", "version", "generation", "created_at", "updated_at"),
        )

    def get_serves(self, flag: FeatureFlag) -> str:
        """Whom the flag serves now, in words."""
        return selectors.effect(flag)


class FlagChange(ReadOnlySerializer[FeatureFlagHistory]):
    """One change: who, when, why, before and after. Append-only."""

    class Meta:
        model = FeatureFlagHistory
        fields = ("id", "ts", "action", "actor", "reason", "before", "after", "generation")


class FlagDetailSerializer(FlagSerializer):
    """One flag with its last 20 changes, newest first."""

    history = serializers.SerializerMethodField()

    class Meta(FlagSerializer.Meta):
        fields = (*FlagSerializer.Meta.fields, "history")

    @extend_schema_field(FlagChange(many=True))
    def get_history(self, flag: FeatureFlag) -> list[dict[str, Any]]:
        return list(FlagChange(flag.history.all()[:20], many=True).data)


class VariantShown(serializers.Serializer[Any]):
    """The variant that this context gets; `disabled` where there is none."""

    name = serializers.CharField()
    enabled = serializers.BooleanField()
    feature_enabled = serializers.BooleanField()
    payload = Payload(required=False)


class FlagCheck(serializers.Serializer[Any]):
    """The answer that code with this context gets, and why."""

    name = serializers.CharField()
    enabled = serializers.BooleanField()
    reason = serializers.CharField()
    variant = VariantShown()
    generation = serializers.IntegerField(help_text="of the flags that answered")
    status = serializers.CharField(help_text="LIVE, or STALE while a newer state of the flags may exist")


class CheckQuery(serializers.Serializer[Any]):
    """The context; every other parameter is an attribute of that name."""

    symbol = serializers.CharField(required=False, max_length=128)
    strategy = serializers.CharField(required=False, max_length=128)
    user = serializers.CharField(required=False, max_length=150)
    system = serializers.CharField(required=False, max_length=128)
    environment = serializers.CharField(required=False, max_length=64, help_text="else that of this installation")


class SegmentFields(_Bounded):
    description = StrictText(required=False, allow_blank=True, max_length=2000)
    constraints = several(Constraint)


class NewSegment(SegmentFields):
    name = Name()


class SegmentPatch(SegmentFields, Versioned):
    """The fields to change."""


class SegmentFilter(Query):
    ordering = ordering("name", "updated_at")


class SegmentSerializer(ReadOnlySerializer[FlagSegment]):
    """Constraints that several flags share."""

    constraints = stored(Constraint)

    class Meta:
        model = FlagSegment
        fields = ("name", "description", "constraints", "version", "generation", "created_at", "updated_at")
