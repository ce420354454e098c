"""Shapes of modules, their versions, swaps and tests."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from helios.modules.core.versions import MAX_RANGE
from helios.modules.models import Module, ModuleJob, ModuleState, ModuleSwap, ModuleTestRun, ModuleVersion, SwapState
from helios.web.shapes import SLUG, Body, Name, Query, ReadOnlySerializer, Reasoned, StrictBoolean, StrictText, ordering

SUITES = sorted(settings.MODULE_SUITES)


def _version(**kwargs: Any) -> StrictText:
    words = "a label such as 1.1.0+3fa1b2c4, 12 digits of the hash or more, or a plain version that is there once"
    return StrictText(max_length=80, help_text=words, **kwargs)


def _suites() -> serializers.ListField:
    choice = serializers.ChoiceField(choices=SUITES)
    return serializers.ListField(child=choice, required=False, min_length=1, max_length=len(SUITES))


class NewModule(Body):
    """A slot, or another version for it. The code says its version itself; given here, it must be the same."""

    name = Name(SLUG)
    path = StrictText(max_length=200, help_text="dotted path of a package on the allow-list")
    version = StrictText(required=False, default="", allow_blank=True, max_length=64)
    dependencies = serializers.DictField(
        child=StrictText(max_length=MAX_RANGE),
        required=False,
        help_text='module and version range: {"features": "^1.0.0"}',
    )
    new_slot = StrictBoolean(
        required=False,
        default=False,
        help_text="make a slot of this name where there is none (else 404); a trader's",
    )
    hot_reloadable = StrictBoolean(
        required=False, help_text="may be swapped by a changed file; left out: as it was, or yes"
    )


class WhichVersion(Body):
    version = _version(required=False, default="", allow_blank=True)


class NewSwap(Reasoned):
    """Which version takes the slot, and which suites it must pass besides the slot's own."""

    name = StrictText(max_length=64)
    version = _version()
    suites = _suites()


class NewRollback(Reasoned):
    from_version = StrictText(
        required=False, default="", max_length=80, help_text="the label that is to leave the slot (409 if another is)"
    )


class TestOrder(WhichVersion):
    suites = _suites()


class TestQuery(Query):
    module_type = serializers.ChoiceField(
        choices=SUITES, required=False, help_text="one suite; else those that gate the module"
    )


class ModuleFilter(Query):
    state = serializers.ChoiceField(choices=ModuleState.choices, required=False)
    hot_reloadable = serializers.BooleanField(required=False)
    ordering = ordering("name", "updated_at", "state")


class SwapFilter(Query):
    module = serializers.CharField(required=False, max_length=64)
    state = serializers.ChoiceField(choices=SwapState.choices, required=False)
    kind = serializers.ChoiceField(choices=ModuleSwap.Kind.choices, required=False)


class TestFilter(Query):
    passed = serializers.BooleanField(required=False)
    version = serializers.CharField(required=False, max_length=160)


class _Dependencies(ReadOnlySerializer[Any]):
    dependencies = serializers.DictField(child=serializers.CharField(), read_only=True)


class ModuleSerializer(_Dependencies):
    """One slot: what fills it, and what a rollback goes back to."""

    active = serializers.SlugRelatedField[ModuleVersion](slug_field="label", read_only=True, allow_null=True)
    previous = serializers.SlugRelatedField[ModuleVersion](slug_field="label", read_only=True, allow_null=True)

    class Meta:
        model = Module
        fields: tuple[str, ...] = (
            *("name", "path", "version", "active", "previous", "dependencies", "hot_reloadable", "state", "error"),
            *("reload_error", "watch_calls", "watch_failures", "generation", "loaded_at", "created_at", "updated_at"),
        )


class VersionSerializer(_Dependencies):
    """One implementation registered for a slot."""

    module = serializers.SlugRelatedField[Module](slug_field="name", read_only=True)
    digest = serializers.CharField(read_only=True, help_text="SHA-256 of its sources")

    class Meta:
        model = ModuleVersion
        fields = (
            *("module", "version", "label", "path", "digest", "dependencies", "state", "error"),
            *("registered_by", "loaded_at", "created_at"),
        )


class SwapSerializer(ReadOnlySerializer[ModuleSwap]):
    """One attempt to put another version into a slot."""

    module = serializers.SlugRelatedField[Module](slug_field="name", read_only=True)
    from_version = serializers.SlugRelatedField[ModuleVersion](slug_field="label", read_only=True, allow_null=True)
    to_version = serializers.SlugRelatedField[ModuleVersion](slug_field="label", read_only=True)

    class Meta:
        model = ModuleSwap
        fields = (
            *("id", "module", "kind", "from_version", "to_version", "state", "actor", "reason", "error", "processes"),
            *("watch_calls", "watch_seen", "watch_failed", "started_at", "switched_at", "finished_at"),
        )


class ProcessShown(serializers.Serializer[Any]):
    """A living process that loads modules."""

    component = serializers.CharField()
    host = serializers.CharField()
    pid = serializers.IntegerField()
    generation = serializers.IntegerField(help_text="of the registry as it serves it")
    seen_at = serializers.DateTimeField()


class TestShown(serializers.Serializer[Any]):
    name = serializers.CharField()
    suite = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment] # a field called as DRF calls one of its own
    outcome = serializers.ChoiceField(choices=["passed", "failed", "error", "timeout", "killed"])
    message = serializers.CharField(allow_blank=True)
    duration_ms = serializers.FloatField()


class TestRunRow(ReadOnlySerializer[ModuleTestRun]):
    """One run of suites, without what the code under test may make long."""

    suites = serializers.ListField(child=serializers.CharField(), read_only=True)
    lacking = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = ModuleTestRun
        fields: tuple[str, ...] = (
            *("id", "module", "version", "digest", "suites", "passed", "lacking"),
            *("actor", "started_at", "duration_ms"),
        )


class TestRunSerializer(TestRunRow):
    """One run of suites: what each test said, and the end of what the code printed."""

    results = TestShown(many=True, read_only=True)

    class Meta(TestRunRow.Meta):
        fields = (*TestRunRow.Meta.fields, "results", "output")


class JobSerializer(ReadOnlySerializer[ModuleJob]):
    """Work that outlasts a request; `detail` says what it waits for, or why it failed."""

    module = serializers.SlugRelatedField[Module](slug_field="name", read_only=True)
    version = VersionSerializer(read_only=True)
    suites = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="empty: the slot's own")
    swap = SwapSerializer(read_only=True, allow_null=True)
    test = TestRunSerializer(read_only=True, allow_null=True)

    class Meta:
        model = ModuleJob
        fields = (
            *("id", "kind", "module", "version", "suites", "state", "detail", "actor", "reason"),
            *("swap", "test", "created_at", "started_at", "finished_at"),
        )


class ModuleStatusSerializer(ModuleSerializer):
    """Whether a slot is in use, who needs it, and what happens to it now."""

    needed_by = serializers.SerializerMethodField()
    gates = serializers.SerializerMethodField()
    swap = serializers.SerializerMethodField()
    last_test = serializers.SerializerMethodField()

    class Meta(ModuleSerializer.Meta):
        fields = (*ModuleSerializer.Meta.fields, "needed_by", "gates", "swap", "last_test")

    def get_needed_by(self, module: Module) -> list[str]:
        """Modules that depend on this one."""
        users = Module.objects.filter(dependencies__has_key=module.name)
        return list(users.order_by("name").values_list("name", flat=True))

    def get_gates(self, module: Module) -> list[str]:
        """The suites that a version must pass to take the slot."""
        return list(settings.MODULE_GATES.get(module.name, ("generic",)))

    @extend_schema_field(SwapSerializer(allow_null=True))
    def get_swap(self, module: Module) -> Any:
        """The last swap of the slot, open or ended."""
        last = ModuleSwap.objects.filter(module=module).order_by("-id").first()
        return SwapSerializer(last).data if last else None

    @extend_schema_field(TestRunSerializer(allow_null=True))
    def get_last_test(self, module: Module) -> Any:
        last = ModuleTestRun.objects.filter(module=module.name).first()
        return TestRunSerializer(last).data if last else None


class Statuses(serializers.Serializer[Any]):
    """All slots by state, and the processes that serve them."""

    modules = serializers.DictField(child=serializers.ChoiceField(choices=ModuleState.choices))
    counts = serializers.DictField(child=serializers.IntegerField())
    generation = serializers.IntegerField(help_text="of the registry")
    swaps_open = SwapSerializer(many=True)
    processes = ProcessShown(many=True)
