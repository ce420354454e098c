"""Findings, audits and heartbeats: read, and acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.decorators import action, display

from helios.web.admin_base import ReadOnlyAdmin
from sentinel import services
from sentinel.models import AuditRun, Finding, Heartbeat

SEVERITY = {"info": "info", "warning": "warning", "critical": "danger"}
VERDICT = {"HEALTHY": "success", "DEGRADED": "warning", "CRITICAL": "danger"}


class OpenFilter(admin.SimpleListFilter):
    """Open findings unless asked otherwise: the resolved ones are history."""

    title = "state"
    parameter_name = "state"

    def lookups(self, _request: HttpRequest, _model_admin: object) -> list[tuple[str, str]]:
        return [("new", "Open, not acknowledged"), ("resolved", "Resolved"), ("all", "All")]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "Open",
        }
        for value, title in self.lookup_choices:
            yield {
                "selected": self.value() == str(value),
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Finding]) -> QuerySet[Finding]:
        match self.value():
            case "all":
                return queryset
            case "resolved":
                return queryset.filter(resolved_at__isnull=False)
            case "new":
                return queryset.filter(resolved_at__isnull=True, acknowledged_at__isnull=True)
            case _:
                return queryset.filter(resolved_at__isnull=True)


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    list_display = (
        "severity_label",
        "message",
        "observed",
        "limit",
        "count",
        "last_seen",
        "state_label",
    )
    list_display_links = ("message",)
    list_filter = (OpenFilter, "severity", "check_name", "code")
    search_fields = ("code", "subject", "message")
    actions = ("acknowledge_selected",)
    fieldsets = (
        (None, {"fields": ("message", "severity", "code", "subject", "check_name")}),
        ("Measured", {"fields": ("observed", "limit")}),
        ("Seen", {"fields": ("first_seen", "last_seen", "count", "resolved_at")}),
        ("Acknowledged", {"fields": ("acknowledged_at", "acknowledged_by")}),
    )

    @display(description="Severity", ordering="severity", label=SEVERITY)
    def severity_label(self, finding: Finding) -> str:
        return finding.severity

    @display(description="State", label={"open": "warning", "acknowledged": "info", "resolved": "success"})
    def state_label(self, finding: Finding) -> str:
        if finding.resolved_at:
            return "resolved"
        return "acknowledged" if finding.acknowledged_at else "open"

    @action(description="Acknowledge: note that somebody looks after it", permissions=["acknowledge"])
    def acknowledge_selected(self, request: HttpRequest, findings: QuerySet[Finding]) -> None:
        n_new = services.acknowledge(findings, cast("User", request.user))
        self.message_user(request, f"{n_new} findings acknowledged", messages.SUCCESS)

    def has_acknowledge_permission(self, request: HttpRequest, _obj: object = None) -> bool:
        """Whoever may change findings may acknowledge them; nothing else about them can be changed."""
        return request.user.has_perm("sentinel.change_finding")


@admin.register(AuditRun)
class AuditRunAdmin(ReadOnlyAdmin):
    list_display = ("ts", "verdict_label", "n_findings", "took")
    list_filter = ("verdict",)

    @display(description="Verdict", ordering="verdict", label=VERDICT)
    def verdict_label(self, run: AuditRun) -> str:
        return run.verdict

    @display(description="Took", ordering="duration_ms")
    def took(self, run: AuditRun) -> str:
        return f"{run.duration_ms:.0f} ms"


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("name", "ts", "worker")
