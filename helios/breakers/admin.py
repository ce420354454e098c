"""Breakers in the admin: their state as Redis knows it, what was done to them, and a button for each thing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from helios.breakers import roles, services
from helios.breakers.catalog import SHIPPED
from helios.breakers.fields import EDITABLE
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent, ShownState
from helios.control.admin import ServicedAdmin, ShownInline
from helios.web.admin_base import ReadOnlyAdmin, RoledForm
from helios.web.roles import Role

COLOURS = {
    "closed": "success",
    "open": "danger",
    "half-open": "warning",
    "forced open": "danger",
    "metrics only": "info",
}


class BreakerForm(RoledForm):
    """Settings, the reason for changing them, and the version that the person saw."""

    reason = forms.CharField(
        required=False, max_length=200, widget=UnfoldAdminTextInputWidget(), help_text="Why; kept in the history."
    )
    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput())

    class Meta:
        model = CircuitBreaker
        fields = ("name", *EDITABLE)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = self.instance.order_path
        self.fields["seen_version"].initial = self.instance.version

    def needed(self) -> Role:
        """By whether it guards orders, before or after the change."""
        return roles.for_breaker(order_path=self.before or bool(self.cleaned_data.get("order_path")))


class EventInline(ShownInline):
    model = CircuitBreakerEvent
    fields = readonly_fields = (
        *("ts", "before", "after", "action", "reason", "difference", "actor", "shared", "enforced"),
    )

    @display(description="settings")
    def difference(self, row: CircuitBreakerEvent) -> str:
        return row.difference() or "-"


@admin.register(CircuitBreaker)
class CircuitBreakerAdmin(ServicedAdmin):
    form = BreakerForm
    list_display = ("name", "badge", "now", "description", "guards", "opens_at", "last_state_at")
    list_filter = ("order_path", "mode", "last_state")
    search_fields = ("name", "description")
    action_routes: ClassVar = {
        "reset_selected": "POST breaker-reset",
        "open_selected": "POST breaker-open",
        "close_selected": "POST breaker-close",
        "measure_selected": "POST breaker-metrics-only",
        "normal_selected": "POST breaker-normal",
    }
    actions: ClassVar = [*action_routes]
    inlines: ClassVar = [EventInline]
    readonly_fields = ("badge", "now", "button_words", "last_state_at", "version", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description", "badge", "now", "button_words", "last_state_at", "version")}),
        ("When it opens", {"fields": ("failure_threshold", "failure_rate", "slow_call_s", "slow_call_rate",
                                      "minimum_calls", "window_calls", "window_s", "order_path")}),
        ("How long it stays open", {"fields": ("open_s", "open_multiplier", "open_max_s", "open_jitter")}),
        ("How it is tried again", {"fields": ("half_open_permits", "permit_s")}),
        ("This change", {"fields": ("reason", "seen_version")}),
    )  # fmt: skip

    @display(description="state", label=COLOURS)
    def badge(self, row: CircuitBreaker) -> str:
        return ShownState(services.status(row).state).label

    @display(description="now")
    def now(self, row: CircuitBreaker) -> str:
        return services.status(row).sentence()

    @display(description="guards orders", ordering="order_path")
    def guards(self, row: CircuitBreaker) -> str:
        return "yes" if row.order_path else "no"

    @display(description="opens at")
    def opens_at(self, row: CircuitBreaker) -> str:
        return row.opens_at()

    @action(description="Reset: calls pass again and past failures are forgotten", permissions=["change"])
    def reset_selected(self, request: HttpRequest, rows: QuerySet[CircuitBreaker]) -> None:
        self._each(request, rows, services.reset, "was reset")

    @action(
        description="Force open: refuse calls until a person closes it (position-reducing orders still pass)",
        permissions=["change"],
    )
    def open_selected(self, request: HttpRequest, rows: QuerySet[CircuitBreaker]) -> None:
        self._each(request, rows, services.force_open, "is now forced open", opens=True)

    @action(description="Close: let calls pass again", permissions=["change"])
    def close_selected(self, request: HttpRequest, rows: QuerySet[CircuitBreaker]) -> None:
        self._each(request, rows, services.close, "is now closed")

    @action(
        description="Metrics only: never refuse a call, note what it would have done (not where it guards orders)",
        permissions=["change"],
    )
    def measure_selected(self, request: HttpRequest, rows: QuerySet[CircuitBreaker]) -> None:
        self._each(request, rows, services.metrics_only, "now only measures")

    @action(description="Normal: act again, from the state that was measured", permissions=["change"])
    def normal_selected(self, request: HttpRequest, rows: QuerySet[CircuitBreaker]) -> None:
        self._each(request, rows, services.normal, "acts again")

    def save_model(self, request: HttpRequest, obj: CircuitBreaker, form: Any, change: bool) -> None:
        """Hand the changed fields to the services; the form itself writes nothing."""
        changed = {name: form.cleaned_data[name] for name in form.changed_data if name in EDITABLE}
        by = {"actor": request.user.get_username(), "reason": form.cleaned_data["reason"]}
        if change:
            services.configure(obj.name, changed, version=form.cleaned_data["seen_version"], **by)
            obj.refresh_from_db()
            return
        obj.pk = services.create(obj.name, changed, **by).pk

    def delete_model(self, request: HttpRequest, obj: CircuitBreaker) -> None:
        """Through the service, which leaves a line in the history."""
        services.delete(obj.name, actor=request.user.get_username())

    def role_for(self, obj: CircuitBreaker | None) -> Role:
        """What guards orders is set by a trader."""
        return roles.for_breaker(order_path=obj is not None and obj.order_path)

    def above_operator(self, obj: CircuitBreaker | None) -> str:
        """What an operator may do where orders are guarded."""
        if obj is not None and not obj.order_path:
            return ""
        return "A breaker that guards orders is changed by a trader only. Forcing one open is open to an operator."

    def get_readonly_fields(self, _request: HttpRequest, obj: CircuitBreaker | None = None) -> tuple[str, ...]:
        """The name is how code finds the breaker: it stays."""
        return (*self.readonly_fields, "name") if obj is not None else self.readonly_fields

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Deleting many at once would pass by the services; one is deleted on its page."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_delete_permission(self, request: HttpRequest, obj: CircuitBreaker | None = None) -> bool:
        """Code finds the shipped breakers by name: they stay."""
        return (obj is None or obj.name not in SHIPPED) and super().has_delete_permission(request, obj)

    def _each(
        self,
        request: HttpRequest,
        rows: QuerySet[CircuitBreaker],
        change: Callable[..., bool | None],
        done: str,
        *,
        opens: bool = False,
    ) -> None:
        def changed(row: CircuitBreaker) -> tuple[str, bool]:
            if change(row.name, actor=request.user.get_username()) is False:
                return f"{row.name}: nothing to do, it was so already", False
            return f"{row.name} {done}", True

        self.each(request, rows, changed, lambda row: roles.for_breaker(order_path=row.order_path, opens=opens))


@admin.register(CircuitBreakerEvent)
class CircuitBreakerEventAdmin(ReadOnlyAdmin):
    list_display = ("ts", "breaker_id", "before", "after", "action", "reason", "actor", "shared", "enforced")
    list_filter = ("breaker", "after", "action", "shared", "enforced")
    date_hierarchy = "ts"
