"""Flags in the admin: what each does, what it does now, and buttons that go the way of every other change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from helios.errors import HeliosError
from helios.flags import catalog, selectors, services
from helios.flags.checks import EDITABLE
from helios.flags.core import Strategy
from helios.flags.models import FeatureFlag, FeatureFlagHistory
from helios.platform.readonly import ReadOnlyAdmin

BADGES = {"on": "success", "off": "info", "killed": "danger"}


class FlagForm(forms.ModelForm[FeatureFlag]):
    """The editable fields, a reason for the history, and the generation at which the person saw the flag."""

    reason = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="why you change it; kept in the history",
    )
    seen_generation = forms.IntegerField(required=False, widget=forms.HiddenInput())

    class Meta:
        model = FeatureFlag
        fields = ("name", *EDITABLE)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen_generation"].initial = self.instance.generation
        for name in {"description", "whitelist", "blacklist"} & self.fields.keys():
            self.fields[name].widget.attrs["rows"] = 2
        for name in {"whitelist", "blacklist"} & self.fields.keys():
            self.fields[name].help_text = "symbols, users, strategies or systems, separated by commas"
        if "strategy" in self.fields:
            choices = [(each.value, each.value) for each in Strategy if each is not Strategy.KILL_SWITCH]
            self.fields["strategy"].choices = choices  # type: ignore[attr-defined]


class HistoryInline(TabularInline):
    """History can be read, nothing else."""

    model = FeatureFlagHistory
    verbose_name_plural = "history, newest first"
    fields = ("ts", "action", "actor", "reason", "difference", "generation")
    readonly_fields = fields
    extra = 0
    per_page = 20
    can_delete = False
    tab = True

    @display(description="what changed")
    def difference(self, row: FeatureFlagHistory) -> str:
        return selectors.difference(row)

    def has_add_permission(self, *_: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any) -> bool:
        return False


@admin.register(FeatureFlag)
class FeatureFlagAdmin(ModelAdmin):
    form = FlagForm
    list_display = ("name", "badge", "strategy", "serves", "wired", "owner", "updated_at")
    list_filter = ("enabled", "strategy", "owner")
    search_fields = ("name", "description", "owner")
    list_per_page = 50
    actions: ClassVar = ["enable_selected", "disable_selected", "kill_selected"]
    inlines: ClassVar = [HistoryInline]
    readonly_fields = ("badge", "serves", "wired", "generation", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description", "badge", "serves", "wired")}),
        ("Whom it serves", {"fields": ("enabled", "strategy", "percentage", "whitelist", "blacklist")}),
        ("Gradual ramp and stickiness", {"fields": ("gradual_start", "gradual_end", "stickiness")}),
        ("Care", {"fields": ("owner", "expires_at", "generation", "updated_at")}),
        ("This change", {"fields": ("reason", "seen_generation")}),
    )

    @display(description="state", label=BADGES)
    def badge(self, flag: FeatureFlag) -> str:
        if flag.strategy == Strategy.KILL_SWITCH:
            return "killed"
        return "on" if flag.enabled else "off"

    @display(description="now")
    def serves(self, flag: FeatureFlag) -> str:
        return selectors.effect(flag) if flag.pk else "a new flag"

    @display(description="acts")
    def wired(self, flag: FeatureFlag) -> str:
        shipped = catalog.BY_NAME.get(flag.name)
        return shipped.wiring if shipped else "where your own code asks for it"

    @action(description="Enable: serve whom the strategy names; a killed flag comes back", permissions=["change"])
    def enable_selected(self, request: HttpRequest, flags: QuerySet[FeatureFlag]) -> None:
        self._each(request, flags, services.enable)

    @action(description="Disable: off for everybody, the strategy is kept", permissions=["change"])
    def disable_selected(self, request: HttpRequest, flags: QuerySet[FeatureFlag]) -> None:
        self._each(request, flags, services.disable)

    @action(
        description="Kill: off for everybody at once, and held off until somebody enables it",
        permissions=["change"],
    )
    def kill_selected(self, request: HttpRequest, flags: QuerySet[FeatureFlag]) -> None:
        self._each(request, flags, services.kill)

    def save_model(self, request: HttpRequest, obj: FeatureFlag, form: Any, change: bool) -> None:
        """Hand the changed fields to the services; the form itself writes nothing."""
        changed = {name: form.cleaned_data[name] for name in form.changed_data if name in EDITABLE}
        by = {"actor": request.user.get_username(), "reason": form.cleaned_data["reason"]}
        if change:
            services.edit(obj.name, changed, seen_generation=form.cleaned_data["seen_generation"], **by)
            obj.refresh_from_db()
            return
        created = services.create(obj.name, changed, **by)
        obj.pk = selectors.get(created.name).pk

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a refused change as a message instead of an error page."""
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except HeliosError as error:
            self.message_user(request, f"Nothing was changed: {error}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response

    def get_readonly_fields(self, _request: HttpRequest, obj: FeatureFlag | None = None) -> tuple[str, ...]:
        """Code finds a flag by its name, so it stays; a killed flag comes back by `Enable` alone."""
        if obj is None:
            return self.readonly_fields
        killed = ("enabled", "strategy") if obj.strategy == Strategy.KILL_SWITCH else ()
        return (*self.readonly_fields, "name", *killed)

    def has_delete_permission(self, _request: HttpRequest, _obj: FeatureFlag | None = None) -> bool:
        return False

    def _each(self, request: HttpRequest, flags: QuerySet[FeatureFlag], change: Callable[..., services.Change]) -> None:
        for flag in flags:
            try:
                done = change(flag.name, actor=request.user.get_username(), reason="from the list in the admin")
            except HeliosError as error:
                self.message_user(request, f"{flag.name}: {error}", messages.ERROR)
                continue
            now = f"{flag.name} is now {selectors.effect(selectors.get(flag.name))}"
            if done.changed:
                self.message_user(request, now, messages.SUCCESS)
            else:
                self.message_user(request, f"{now}, as it already was", messages.INFO)


@admin.register(FeatureFlagHistory)
class FeatureFlagHistoryAdmin(ReadOnlyAdmin):
    list_display = ("ts", "flag_id", "action", "difference", "actor", "reason", "generation")
    list_filter = ("action", "actor")
    search_fields = ("flag__name", "actor", "reason")
    date_hierarchy = "ts"

    @display(description="what changed")
    def difference(self, row: FeatureFlagHistory) -> str:
        return selectors.difference(row)
