"""The history of module tests in the admin: read, filtered, never edited."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from helios.modules.history import ModuleTestRun
from helios.web.admin_base import ReadOnlyAdmin


@admin.register(ModuleTestRun)
class ModuleTestRunAdmin(ReadOnlyAdmin):
    """One row a run; its page shows what each test said."""

    none_yet = "No test has run yet. A swap runs them, and so does the button `Test` of the modules."
    list_display = ("started_at", "module", "version", "verdict", "told", "reason", "duration", "actor")
    list_filter = ("module", "passed", "started_at")
    search_fields = ("module", "version", "digest", "actor")
    fields = (
        "started_at",
        "module",
        "version",
        "digest",
        "suites_run",
        "verdict",
        "tests",
        "output",
        "duration",
        "actor",
    )
    readonly_fields = fields

    @display(description="verdict", label={"passed": "success", "failed": "danger"}, ordering="passed")
    def verdict(self, run: ModuleTestRun) -> str:
        return "passed" if run.passed else "failed"

    @display(description="tests")
    def told(self, run: ModuleTestRun) -> str:
        passed = sum(1 for result in run.results if result["outcome"] == "passed")
        return f"{passed} of {len(run.results)}"

    @display(description="why not")
    def reason(self, run: ModuleTestRun) -> str:
        blocking = (each for each in run.results if each["required"] and each["outcome"] != "passed")
        return next((f"{each['name']}: {each['message']}" for each in blocking), "-")

    @display(description="suites")
    def suites_run(self, run: ModuleTestRun) -> str:
        return ", ".join(run.suites)

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
