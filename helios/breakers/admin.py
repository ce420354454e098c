"""Breakers in the admin: their state as Redis knows it, what was done to them, and a button for each thing to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from helios.breakers import roles, selectors, services
from helios.breakers.catalog import SHIPPED
from helios.breakers.fields import EDITABLE
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent, ShownState
from helios.control.admin import ChangeForm, ServicedAdmin, ShownInline, button
from helios.entries import MAX_REASON
from helios.web.admin_base import ReadOnlyAdmin, RoledAdmin
from helios.web.roles import Role
from helios.web.shapes import ONE_LINE

COLOURS = {
    "closed": "success",
    "open": "danger",
    "half-open": "warning",
    "forced open": "danger",
    "metrics only": "info",
}


class BreakerForm(ChangeForm):
    """Settings of a breaker."""

    editable = EDITABLE
    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON,
        validators=[ONE_LINE],
        widget=UnfoldAdminTextInputWidget(),
        help_text="Why; kept in the history.",
    )

    class Meta:
        model = CircuitBreaker
        fields = ("name", *EDITABLE)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = self.instance.order_path

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
    create, edit = staticmethod(services.create), staticmethod(services.configure)
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
        return ShownState(selectors.status(row).state).label

    @display(description="now")
    def now(self, row: CircuitBreaker) -> str:
        return selectors.status(row).sentence()

    @display(description="guards orders", ordering="order_path")
    def guards(self, row: CircuitBreaker) -> str:
        return "yes" if row.order_path else "no"

    @display(description="opens at")
    def opens_at(self, row: CircuitBreaker) -> str:
        return row.opens_at()

    reset_selected = button("Reset: calls pass again and past failures are forgotten", services.reset, done="was reset")
    open_selected = button(
        "Force open: refuse calls until a person closes it (position-reducing orders still pass)",
        services.force_open,
        done="is now forced open",
        opens=True,
    )
    close_selected = button("Close: let calls pass again", services.close, done="is now closed")
    measure_selected = button(
        "Metrics only: never refuse a call, note what it would have done (not where it guards orders)",
        services.metrics_only,
        done="now only measures",
    )
    normal_selected = button("Normal: act again, from the state that was measured", services.normal, done="acts again")

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

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Deleting many at once would pass by the services; one is deleted on its page."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_delete_permission(self, request: HttpRequest, obj: CircuitBreaker | None = None) -> bool:
        """Code finds the shipped breakers by name: they stay."""
        return (obj is None or obj.name not in SHIPPED) and RoledAdmin.has_delete_permission(self, request, obj)

    def change_each(
        self,
        request: HttpRequest,
        rows: Iterable[CircuitBreaker],
        change: Callable[..., bool | None],
        *,
        done: str,
        opens: bool = False,
    ) -> None:
        """Say what was done, or that it was so already."""

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
