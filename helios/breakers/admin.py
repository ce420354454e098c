"""Breakers in the admin: their state as Redis knows it, what was done to them, and three buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from helios.breakers import services
from helios.breakers.models import CircuitBreaker, CircuitBreakerEvent, ShownState
from helios.errors import HeliosError
from helios.platform.readonly import ReadOnlyAdmin

COLOURS = {"closed": "success", "open": "danger", "half-open": "warning", "forced open": "danger"}


class EventInline(TabularInline):
    """History can be read, nothing else."""

    model = CircuitBreakerEvent
    verbose_name_plural = "history, newest first"
    fields = ("ts", "before", "after", "reason", "actor", "shared")
    readonly_fields = fields
    extra = 0
    per_page = 20
    can_delete = False
    tab = True

    def has_add_permission(self, *_: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any) -> bool:
        return False


@admin.register(CircuitBreaker)
class CircuitBreakerAdmin(ModelAdmin):
    list_display = ("name", "badge", "now", "description", "guards", "opens_at", "last_state_at")
    list_filter = ("order_path", "last_state")
    search_fields = ("name", "description")
    actions: ClassVar = ["reset_selected", "open_selected", "close_selected"]
    inlines: ClassVar = [EventInline]
    readonly_fields = ("badge", "now", "last_state_at", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description", "badge", "now", "last_state_at")}),
        ("When it opens", {"fields": ("failure_threshold", "window_calls", "minimum_calls", "order_path")}),
        ("How it is tried again", {"fields": ("open_s", "half_open_permits", "permit_s")}),
    )

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
        return f"{row.failure_threshold} of {row.window_calls} calls, for {row.open_s:g} s"

    @action(description="Reset: calls pass again and past failures are forgotten", permissions=["change"])
    def reset_selected(self, request: HttpRequest, rows: QuerySet[CircuitBreaker]) -> None:
        self._each(request, rows, services.reset, "was reset")

    @action(
        description="Force open: refuse calls until a person closes it (position-reducing orders still pass)",
        permissions=["change"],
    )
    def open_selected(self, request: HttpRequest, rows: QuerySet[CircuitBreaker]) -> None:
        self._each(request, rows, services.force_open, "is now forced open")

    @action(description="Close: let calls pass again", permissions=["change"])
    def close_selected(self, request: HttpRequest, rows: QuerySet[CircuitBreaker]) -> None:
        self._each(request, rows, services.close, "is now closed")

    def save_model(self, _request: HttpRequest, obj: CircuitBreaker, _form: Any, _change: bool) -> None:
        services.configure(obj)

    def get_readonly_fields(self, _request: HttpRequest, obj: CircuitBreaker | None = None) -> tuple[str, ...]:
        """The name is how code finds the breaker: it stays."""
        return (*self.readonly_fields, "name") if obj is not None else self.readonly_fields

    def has_delete_permission(self, _request: HttpRequest, _obj: CircuitBreaker | None = None) -> bool:
        """Code finds breakers by name: one that is not wanted is left alone, not deleted."""
        return False

    def _each(
        self,
        request: HttpRequest,
        rows: QuerySet[CircuitBreaker],
        change: Callable[..., bool | None],
        done: str,
    ) -> None:
        for row in rows:
            try:
                changed = change(row.name, actor=request.user.get_username())
            except HeliosError as error:
                self.message_user(request, f"{row.name}: {error}", messages.ERROR)
                continue
            if changed is False:
                self.message_user(request, f"{row.name}: nothing to do, it was so already", messages.INFO)
            else:
                self.message_user(request, f"{row.name} {done}", messages.SUCCESS)


@admin.register(CircuitBreakerEvent)
class CircuitBreakerEventAdmin(ReadOnlyAdmin):
    list_display = ("ts", "breaker_id", "before", "after", "reason", "actor", "shared")
    list_filter = ("breaker", "after", "shared")
    date_hierarchy = "ts"
