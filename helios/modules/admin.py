"""Modules in the admin: what fills each slot of the pipeline, what filled it before, and a button for each change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from helios.control.admin import ServicedAdmin, ShownInline, button
from helios.modules import jobs, services
from helios.modules.errors import ModuleRefused, UnknownModule
from helios.modules.models import Module, ModuleJob, ModuleProcess, ModuleSwap, ModuleTestRun, ModuleVersion
from helios.web.admin_base import ReadOnlyAdmin, RoledForm
from helios.web.roles import Role

COLOURS = {
    "active": "success",
    "loaded": "info",
    "loading": "warning",
    "unloaded": "default",
    "failed": "danger",
}
JOB_COLOURS = {"queued": "info", "running": "warning", "succeeded": "success", "failed": "danger"}


class RegistrationForm(RoledForm):
    """Code for a slot, new or known; the registry's refusals stand beside the form."""

    version = forms.CharField(
        required=False, max_length=64, widget=UnfoldAdminTextInputWidget(), help_text="Empty: what the code states."
    )
    new_slot = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Make a slot of this name where there is none: a trader's, for slots stay.",
    )

    class Meta:
        model = Module
        fields = ("name", "path", "version", "dependencies", "hot_reloadable")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "dependencies" in self.fields:
            self.fields["dependencies"].widget.attrs["rows"] = 2

    def needed(self) -> Role:
        """A new slot is there for good."""
        return Role.TRADER if self.cleaned_data.get("new_slot") else Role.OPERATOR

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                needs, new = data["dependencies"] or {}, data["new_slot"]
                services.check_registration(data["name"], data["path"], data["version"], needs, new_slot=new)
            except (ModuleRefused, UnknownModule) as error:
                raise ValidationError(str(error)) from error
        return data

    def validate_unique(self) -> None:
        """A name that is there already means another version of that module."""


class VersionInline(ShownInline):
    model = ModuleVersion
    fk_name = "module"
    verbose_name_plural = "versions, newest first"
    fields = readonly_fields = ("label", "state", "path", "dependencies", "error", "registered_by", "created_at")


class SwapInline(ShownInline):
    model = ModuleSwap
    fk_name = "module"
    verbose_name_plural = "swaps, newest first"
    fields = readonly_fields = (
        *("started_at", "kind", "from_version", "to_version", "state", "calls", "processes"),
        *("actor", "reason", "error"),
    )

    @display(description="watched calls")
    def calls(self, row: ModuleSwap) -> str:
        return f"{row.watch_seen} of {row.watch_calls}, {row.watch_failed} failed"


def _enqueued(kind: ModuleJob.Kind, name: str, seen: str, *, actor: str) -> str:
    """A worker does it to the version that the person saw; how it ended stands on the page of its job."""
    if not seen:
        raise ModuleRefused("the version must be the one that the list showed, none came: look at it again")
    job = jobs.enqueue(kind, name, seen, actor=actor, reason="chosen in the admin")
    page = reverse("admin:modules_modulejob_change", args=[job.pk])
    return format_html('{} {}: <a href="{}">{} is queued</a>', name, job.version.label, page, kind.label)


@admin.register(Module)
class ModuleAdmin(ServicedAdmin):
    list_display = ("name", "badge", "in_use", "before", "newest", "needs", "hot_reloadable", "trouble", "updated_at")
    form = RegistrationForm
    list_filter = ("state", "hot_reloadable")
    list_select_related = ("active", "previous")
    search_fields = ("name", "path")
    action_routes: ClassVar = {
        "load_selected": "POST module-load",
        "test_selected": "POST module-test",
        "swap_selected": "POST module-swap",
        "roll_back_selected": "POST module-rollback",
        "activate_selected": "POST module-activate",
        "unload_selected": "POST module-unload",
    }
    actions: ClassVar = [*action_routes]
    readonly_fields = (
        *("badge", "in_use", "newest", "before", "button_words", "error", "reload_error", "watching"),
        *("generation", "loaded_at", "created_at", "updated_at"),
    )
    fieldsets = (
        (None, {"fields": ("name", "path", "version", "dependencies", "hot_reloadable")}),
        ("Where it stands", {"fields": readonly_fields}),
    )

    @display(description="state", label=COLOURS, ordering="state")
    def badge(self, row: Module) -> str:
        return str(row.get_state_display())

    @display(description="in use")
    def in_use(self, row: Module) -> str:
        """What `Roll back` and `Unload` take out; the list sends its label with them."""
        if row.active is None:
            return "nothing"
        return format_html(
            '{}<input type="hidden" name="used-{}" value="{}">', row.active.label, row.pk, row.active.label
        )

    @display(description="a rollback brings")
    def before(self, row: Module) -> str:
        return row.previous.label if row.previous is not None else "nothing"

    @display(description="a swap brings")
    def newest(self, row: Module) -> str:
        """What the buttons are about; the list sends its label with them, whatever is registered meanwhile."""
        version = row.versions.order_by("-id").first()
        if version is None:
            return "nothing"
        shown = version.label if version.pk != row.active_id else "nothing"
        return format_html('{}<input type="hidden" name="seen-{}" value="{}">', shown, row.pk, version.label)

    @display(description="needs")
    def needs(self, row: Module) -> str:
        return ", ".join(f"{name} {wanted}" for name, wanted in row.dependencies.items()) or "nothing"

    @display(description="trouble")
    def trouble(self, row: Module) -> str:
        return row.error or row.reload_error or "-"

    @display(description="watched now")
    def watching(self, row: Module) -> str:
        if row.watch is None:
            return "no switch is watched"
        return f"{row.watch.watch_seen} of the first {row.watch.watch_calls} calls, {row.watch.watch_failed} failed"

    load_selected = button(
        "Load: run the suites that gate it on the newest version, without using it",
        partial(_enqueued, ModuleJob.Kind.LOAD),
    )
    test_selected = button(
        "Test: run the suites that gate it on the newest version", partial(_enqueued, ModuleJob.Kind.TEST)
    )
    swap_selected = button(
        "Swap: test the newest version and put it in place in every process, from its next task on",
        partial(_enqueued, ModuleJob.Kind.SWAP),
    )
    roll_back_selected = button(
        "Roll back: put the version before back, at once", services.rollback, done="is rolled back"
    )
    activate_selected = button(
        "Activate: test the newest version and fill an empty slot with it, from the next task on",
        partial(_enqueued, ModuleJob.Kind.ACTIVATE),
    )
    unload_selected = button(
        "Unload: the pipeline stops using it, and new cycles end at that stage", services.unload, done="is unloaded"
    )

    def save_model(self, request: HttpRequest, obj: Module, form: Any, _change: bool) -> None:
        """The form has asked `check_registration` already, so this refuses only in a race."""
        version = services.register(
            obj.name,
            obj.path,
            form.cleaned_data["version"],
            dependencies=obj.dependencies or None,
            hot_reloadable=None if Module.objects.filter(name=obj.name).exists() else obj.hot_reloadable,
            new_slot=form.cleaned_data["new_slot"],
            actor=request.user.get_username(),
        )
        obj.pk = version.module_id
        obj.refresh_from_db()

    def get_fieldsets(self, request: HttpRequest, obj: Module | None = None) -> Any:
        """A module that is not there yet stands nowhere."""
        if obj is not None:
            return super().get_fieldsets(request, obj)
        note = "Registering stores the code beside what runs, and changes nothing: a swap puts it in place."
        return [(None, {"fields": (*self.form.Meta.fields, "new_slot"), "description": note})]

    def get_inlines(self, request: HttpRequest, obj: Module | None) -> list[Any]:
        """Versions and swaps of a module that is there."""
        return [] if obj is None else [VersionInline, SwapInline]

    def save_related(self, *_: Any) -> None:
        """Versions and swaps are not edited beside their module."""

    def has_change_permission(self, request: HttpRequest, obj: Module | None = None) -> bool:
        """Rows are changed by registering and by the actions, which check them; the form only shows them."""
        return obj is None and bool(super().has_change_permission(request, obj))

    def change_each(
        self, request: HttpRequest, rows: Iterable[Module], change: Callable[..., object], *, done: str = ""
    ) -> None:
        """Say what was done to a slot, or what the change of the version that the list showed says itself."""

        def changed(row: Module) -> tuple[str, bool]:
            seen = request.POST.get(f"{'used' if done else 'seen'}-{row.pk}", "")
            answer = change(row.name, seen, actor=request.user.get_username())
            return (f"{row.name} {done}" if done else str(answer)), True

        self.each(request, rows, changed)


@admin.register(ModuleProcess)
class ModuleProcessAdmin(ReadOnlyAdmin):
    list_display = ("component", "host", "pid", "generation", "started_at", "seen_at")
    list_filter = ("component",)


@admin.register(ModuleJob)
class ModuleJobAdmin(ReadOnlyAdmin):
    """Loads, activations, tests and swaps that people asked for: how far they are, how they ended."""

    list_display = ("created_at", "kind", "version", "badge", "detail", "actor", "finished_at")
    list_filter = ("kind", "state", "module")
    list_select_related = ("version__module",)

    @display(description="state", label=JOB_COLOURS, ordering="state")
    def badge(self, job: ModuleJob) -> str:
        return str(job.get_state_display())

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ModuleJob | None:
        """The job as it stands now: one whose worker died is not shown as running."""
        job: ModuleJob | None = super().get_object(request, object_id, from_field)
        return jobs.get(job.pk) if job is not None else None


@admin.register(ModuleTestRun)
class ModuleTestRunAdmin(ReadOnlyAdmin):
    """One row a run; its page shows what each test said."""

    none_yet = "No test has run yet. A swap runs them, and so does the button `Test` of the modules."
    list_per_page = list_max_show_all = 10  # the code under test may fill a megabyte of each
    list_display = ("started_at", "module", "version", "verdict", "n_passed", "reason", "duration", "actor")
    list_filter = ("module", "passed", "started_at")
    search_fields = ("module", "version", "digest", "actor")
    fields = readonly_fields = (
        *("started_at", "module", "version", "digest", "suites_run", "verdict", "tests", "output", "walls"),
        *("duration", "actor"),
    )

    @display(description="verdict", label={"passed": "success", "failed": "danger"}, ordering="passed")
    def verdict(self, run: ModuleTestRun) -> str:
        return "passed" if run.passed else "failed"

    @display(description="tests")
    def n_passed(self, run: ModuleTestRun) -> str:
        passed = sum(1 for result in run.results if result["outcome"] == "passed")
        return f"{passed} of {len(run.results)}"

    @display(description="why not")
    def reason(self, run: ModuleTestRun) -> str:
        blocking = (each for each in run.results if each["required"] and each["outcome"] != "passed")
        return next((f"{each['name']}: {each['message']}" for each in blocking), "-")

    @display(description="suites")
    def suites_run(self, run: ModuleTestRun) -> str:
        return ", ".join(run.suites)

    @display(description="walls that the machine did not allow")
    def walls(self, run: ModuleTestRun) -> str:
        return ", ".join(run.lacking) or "none"

    @display(description="duration", ordering="duration_ms")
    def duration(self, run: ModuleTestRun) -> str:
        return f"{run.duration_ms / 1e3:.1f} s"

    @display(description="what each test said")
    def tests(self, run: ModuleTestRun) -> SafeString:
        rows = (
            (
                each["suite"],
                each["name"],
                each["outcome"] + ("" if each["required"] else " (optional)"),
                f"{each['duration_ms']:.1f} ms",
                each["message"],
            )
            for each in run.results
        )
        return format_html_join("", "<p><b>{}</b> {}: {}, {} {}</p>", rows)
