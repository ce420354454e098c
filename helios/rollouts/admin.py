"""Rollouts in the admin: how far each is, both arms, and buttons that say what they will do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from unfold.decorators import display

from helios.control.admin import ServicedAdmin, ShownInline, button
from helios.rollouts import comparison, describe, services
from helios.rollouts.models import Rollout, RolloutAnalysis, RolloutEvent
from helios.web.admin_base import ReadOnlyAdmin, lines

BADGES = {
    "PENDING": "default",
    "RUNNING": "info",
    "PAUSED": "warning",
    "PROMOTING": "info",
    "SUCCEEDED": "success",
    "ROLLED_BACK": "danger",
    "ABORTED": "default",
}
ARM_LINE = '<tr><th class="pr-6">{}</th><td class="pr-6">{}</td><td class="pr-6">{}</td><td>{}</td></tr>'
HEADS = ("", "champion", "challenger", "difference")
VERDICTS = {"Success": "success", "Failed": "danger", "Inconclusive": "warning", "Error": "warning"}


class AnalysisInline(ShownInline):
    model = RolloutAnalysis
    verbose_name_plural = "analyses, newest first"
    fields = ("at", "serves", "badge", "reason")
    readonly_fields = fields

    @display(description="step")
    def serves(self, row: RolloutAnalysis) -> str:
        return describe.numbered(row)

    @display(description="verdict", label=VERDICTS)
    def badge(self, row: RolloutAnalysis) -> str:
        return row.verdict


class HistoryInline(ShownInline):
    model = RolloutEvent
    fields = ("at", "action", "actor", "serves", "reason")
    readonly_fields = fields

    @display(description="step")
    def serves(self, row: RolloutEvent) -> str:
        return str(row.after.get("serves", ""))


_button = partial(button, permission="steer")


@admin.register(Rollout)
class RolloutAdmin(ServicedAdmin, ReadOnlyAdmin):
    list_display = ("name", "badge", "target", "challenger", "champion", "now", "why", "next_analysis_at")
    list_filter = ("state", "kind", "target")
    search_fields = ("name", "target", "challenger", "champion", "description")
    action_routes: ClassVar = {
        "start_selected": "POST rollout-start",
        "pause_selected": "POST rollout-pause",
        "resume_selected": "POST rollout-resume",
        "promote_selected": "POST rollout-promote",
        "abort_selected": "POST rollout-abort",
    }
    actions: ClassVar = [*action_routes]
    inlines: ClassVar = [AnalysisInline, HistoryInline]
    none_yet = "No rollout yet. One is planned with `manage.py rollouts create` or over the API, and steered here."
    fieldsets = (
        (None, {"fields": ("name", "description", "badge", "progress", "now", "reason")}),
        ("What the buttons of the list will do", {"fields": ("promoting", "aborting", "button_words")}),
        ("Both arms", {"fields": ("arms",)}),
        ("What is delivered", {"fields": ("kind", "target", "champion", "challenger", "parameters", "books")}),
        ("Plan", {"fields": ("plan", "limits", "inconclusive_limit", "error_limit")}),
        ("Times", {"fields": ("actor", "created_at", "started_at", "next_analysis_at", "ended_at", "version")}),
    )

    @display(description="state", label=BADGES, ordering="state")
    def badge(self, row: Rollout) -> str:
        return row.state

    @display(description="now")
    def now(self, row: Rollout) -> str:
        return describe.serves(row)

    @display(description="why")
    def why(self, row: Rollout) -> str:
        return describe.short(row.reason)

    @display(description="steps")
    def plan(self, row: Rollout) -> str:
        return lines(describe.plan(row))

    @display(description="guards")
    def limits(self, row: Rollout) -> str:
        return lines(map(describe.guard, row.guards))

    @display(description="parameters")
    def parameters(self, row: Rollout) -> str:
        return ", ".join(f"{name}: {value}" for name, value in row.params.items()) or "none"

    @display(description="progress")
    def progress(self, row: Rollout) -> str:
        return describe.progress(row)

    @display(description="promote")
    def promoting(self, row: Rollout) -> str:
        return describe.promoting(row)

    @display(description="abort")
    def aborting(self, row: Rollout) -> str:
        return describe.aborting(row)

    @display(description="measured; in brackets 95 % intervals")
    def arms(self, row: Rollout) -> str:
        found = comparison.table(comparison.report(row)["arms"])
        if not found:
            return "nothing measured yet"
        return format_html('<table class="text-left">{}</table>', format_html_join("", ARM_LINE, [HEADS, *found]))

    start_selected = _button("Start: begin with the first step", services.start)
    pause_selected = _button("Pause: stay at this share of symbols; hard guards go on watching", services.pause)
    resume_selected = _button("Resume: go on with the step that was paused", services.resume)
    promote_selected = _button("Promote: take the next step without waiting for an analysis", services.promote)
    abort_selected = _button("Abort: the champion serves every symbol from the next cycle on", services.abort)

    def above_operator(self, _obj: Rollout | None) -> str:
        """Buttons that only a trader has."""
        return "Only a trader may start, resume or promote a rollout. Pausing and aborting are open to an operator."

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """The rows are read-only; whoever may change rollouts may steer them."""
        return bool(request.user.has_perm("rollouts.change_rollout"))

    def change_each(self, request: HttpRequest, rows: Iterable[Rollout], change: Callable[..., Rollout]) -> None:
        """Say where each stands afterwards."""

        def steered(row: Rollout) -> tuple[str, bool]:
            done = change(row.pk, actor=request.user.get_username(), reason="from the list in the admin")
            return f"{row.name} is {done.state}: {describe.serves(done)}", True

        self.each(request, rows, steered)
