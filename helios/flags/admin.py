"""Flags and segments in the admin: what each does, what a button would do, and changes by the common way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from helios.control.admin import ServicedAdmin, ShownInline, button
from helios.entries import whole
from helios.flags import catalog, describe, references, roles, segments, selectors, services
from helios.flags.core.definition import Strategy
from helios.flags.core.fields import check_field
from helios.flags.errors import InvalidFlagError
from helios.flags.forms import FlagActionForm, FlagForm, SegmentForm
from helios.flags.models import FeatureFlag, FeatureFlagHistory, FlagSegment, FlagSegmentHistory
from helios.flags.roles import MONEY_FLAGS, Direction
from helios.flags.rows import Change
from helios.web.admin_base import ReadOnlyAdmin
from helios.web.roles import Role

BADGES = {"on": "success", "off": "info", "killed": "danger"}
FROM_LIST = "from the list in the admin"


class HistoryInline(ShownInline):
    model: Any = FeatureFlagHistory
    fields = readonly_fields = ("ts", "action", "actor", "reason", "difference", "generation")

    @display(description="what changed")
    def difference(self, row: FeatureFlagHistory | FlagSegmentHistory) -> str:
        return selectors.difference(row)


class SegmentHistoryInline(HistoryInline):
    model = FlagSegmentHistory


@admin.register(FeatureFlag)
class FeatureFlagAdmin(ServicedAdmin):
    form = FlagForm
    create, edit = staticmethod(services.create), staticmethod(services.edit)
    action_form = FlagActionForm
    list_display = ("name", "badge", "strategy", "serves", "acts", "owner", "updated_at")
    list_filter = ("enabled", "strategy", "owner")
    search_fields = ("name", "description", "owner")
    action_routes: ClassVar = {
        "enable_selected": "POST flag-enable",
        "disable_selected": "POST flag-disable",
        "kill_selected": "POST flag-kill",
        "set_percentage_of_selected": "POST flag-percentage",
    }
    actions: ClassVar = [*action_routes]
    inlines: ClassVar = [HistoryInline]
    readonly_fields = (
        *("badge", "serves", "wired", "buttons", "needed_by"),
        *("generation", "version", "created_at", "updated_at"),
    )
    fieldsets = (
        (None, {"fields": ("name", "description", "badge", "serves", "buttons", "wired", "needed_by")}),
        ("Whom it serves", {"fields": ("enabled", "strategy", "percentage", "whitelist", "blacklist")}),
        ("Only if", {"fields": ("environments", "constraints", "segments", "prerequisites")}),
        ("Shares over time", {"fields": ("gradual_from", "gradual_start", "gradual_end", "schedule")}),
        ("Stickiness, rules and variants", {"fields": ("stickiness", "group_id", "rules", "variants")}),
        ("Care", {"fields": ("owner", "expires_at", "generation", "version", "updated_at")}),
        ("This change", {"fields": ("reason", "seen_version")}),
    )

    @display(description="state", label=BADGES)
    def badge(self, flag: FeatureFlag) -> str:
        if flag.strategy == Strategy.KILL_SWITCH:
            return "killed"
        return "on" if flag.enabled else "off"

    @display(description="now")
    def serves(self, flag: FeatureFlag) -> str:
        return selectors.effect(flag) if flag.pk else "a new flag"

    @display(description="what a change of its switch will do")
    def buttons(self, flag: FeatureFlag) -> SafeString | str:
        """Before and after, in words."""
        if not flag.pk:
            return "-"
        effects = [("now", selectors.effect(flag)), *selectors.outcomes(flag).items()]
        return format_html_join("", "<p><b>{}</b>: {}</p>", effects)

    @display(description="needed by")
    def needed_by(self, flag: FeatureFlag) -> str:
        return ", ".join(references.needing_flag(flag.name)) or "no other flag"

    @display(description="acts")
    def acts(self, flag: FeatureFlag) -> str:
        """In short, for the list."""
        return str(self.wired(flag)).partition(":")[0]

    @display(description="acts")
    def wired(self, flag: FeatureFlag) -> str:
        shipped = catalog.BY_NAME.get(flag.name)
        return shipped.wiring if shipped else "where your own code asks for it"

    enable_selected = button(
        "Enable: serve whom the strategy names; a killed flag comes back", services.enable, direction=Direction.ON
    )
    disable_selected = button(
        "Disable: off for everybody, the strategy is kept", services.disable, direction=Direction.OFF
    )
    kill_selected = button(
        "Kill: off for everybody at once, and held off until somebody enables it",
        services.kill,
        direction=Direction.OFF,
    )

    @action(
        description="Set percentage: serve the share of the symbols that is typed here",
        permissions=["change"],
    )
    def set_percentage_of_selected(self, request: HttpRequest, flags: QuerySet[FeatureFlag]) -> None:
        typed = request.POST.get("percentage", "").strip()[:20]
        number = whole(typed)
        percentage: Any = typed if number is None else number
        try:
            check_field("percentage", percentage)
        except InvalidFlagError as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        self.change_each(
            request, flags, partial(services.set_percentage, percentage=percentage), direction=Direction.OTHER
        )

    def get_readonly_fields(self, request: HttpRequest, obj: FeatureFlag | None = None) -> tuple[str, ...]:
        """A killed flag comes back by `Enable` alone."""
        killed = ("enabled", "strategy") if obj and obj.strategy == Strategy.KILL_SWITCH else ()
        return (*super().get_readonly_fields(request, obj), *killed)

    def above_operator(self, obj: FeatureFlag | None) -> str:
        """The flags that move money: which way an operator may turn them."""
        steers = references.steered_by_flag(obj.name) if obj is not None else ()
        all_open = obj is not None and MONEY_FLAGS.keys().isdisjoint({obj.name, *steers})
        return "" if all_open else roles.TRADERS_FLAGS

    def change_each(
        self, request: HttpRequest, rows: Iterable[FeatureFlag], change: Callable[..., Change], *, direction: Direction
    ) -> None:
        """Say what each flag was and is, by the role that the change needs."""
        by = {"actor": request.user.get_username(), "reason": request.POST.get("reason") or FROM_LIST}

        def turned(flag: FeatureFlag) -> tuple[str, bool]:
            was = selectors.effect(flag)
            done = change(flag.name, **by)
            now = f"{flag.name} is now {selectors.effect(selectors.get(flag.name))}"
            return (f"{now}; it was {was}", True) if done.changed else (f"{now}, as it already was", False)

        known = references.all_references()

        def needed(flag: FeatureFlag) -> Role:
            return roles.for_flag(flag.name, direction, references.steered_by_flag(flag.name, known))

        self.each(request, rows, turned, needed)


@admin.register(FlagSegment)
class FlagSegmentAdmin(ServicedAdmin):
    form = SegmentForm
    create, edit = staticmethod(segments.create), staticmethod(segments.edit)
    list_display = ("name", "holds", "used_by", "updated_at")
    search_fields = ("name", "description")
    none_yet = "No segment yet. One holds constraints under a name, which several flags then share."
    actions: ClassVar = ["remove_selected"]
    action_routes: ClassVar = {"remove_selected": "DELETE segment-detail"}
    inlines: ClassVar = [SegmentHistoryInline]
    readonly_fields = ("holds", "used_by", "generation", "version", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "description", "holds", "used_by", "constraints")}),
        ("Care", {"fields": ("generation", "version", "updated_at")}),
        ("This change", {"fields": ("reason", "seen_version")}),
    )

    @display(description="holds")
    def holds(self, segment: FlagSegment) -> str:
        return " and ".join(map(describe.constraint, segment.constraints)) or "for everybody"

    @display(description="used by")
    def used_by(self, segment: FlagSegment) -> str:
        return ", ".join(references.needing_segment(segment.name, vars(segment).get("known"))) or "no flag"

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """What flags refer to is read once a page."""
        found, known = super().get_changelist_instance(request), references.all_references()
        for segment in found.result_list:
            segment.known = known
        return found

    def role_for(self, obj: FlagSegment | None) -> Role:
        """By the flags that hang on it."""
        return roles.for_segment(references.steered_by_segment(obj.name) if obj is not None else ())

    def above_operator(self, obj: FlagSegment | None) -> str:
        """Which segments an operator may not touch."""
        if obj is not None and self.role_for(obj) <= Role.OPERATOR:
            return ""
        return f"A segment that {', '.join(MONEY_FLAGS)} hangs on is changed by a trader only."

    remove_selected = button("Remove: refused while a flag uses it", segments.remove)

    def change_each(self, request: HttpRequest, rows: Iterable[FlagSegment], change: Callable[..., Change]) -> None:
        """Say which are gone."""

        def gone(segment: FlagSegment) -> tuple[str, bool]:
            change(segment.name, actor=request.user.get_username(), reason=FROM_LIST)
            return f"{segment.name} is gone; its history stays", True

        known = references.all_references()
        self.each(request, rows, gone, lambda each: roles.for_segment(references.steered_by_segment(each.name, known)))


@admin.register(FeatureFlagHistory)
class FeatureFlagHistoryAdmin(ReadOnlyAdmin):
    list_display: tuple[str, ...] = ("ts", "flag_id", "action", "difference", "actor", "reason", "generation")
    list_filter = ("action", "actor")
    search_fields: tuple[str, ...] = ("flag__name", "actor", "reason")
    date_hierarchy = "ts"

    @display(description="what changed")
    def difference(self, row: FeatureFlagHistory | FlagSegmentHistory) -> str:
        return selectors.difference(row)


@admin.register(FlagSegmentHistory)
class FlagSegmentHistoryAdmin(FeatureFlagHistoryAdmin):
    list_display = ("ts", "segment_id", "action", "difference", "actor", "reason", "generation")
    search_fields = ("segment__name", "actor", "reason")
