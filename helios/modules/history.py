"""The history of module tests: one row a run, written once and never changed."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class ModuleTestRun(models.Model):
    """One run of the suites that gate a module: what was tested, what each test said, how long it took.

    Rows name their module and version in words, without a foreign key: history outlives what it speaks of.
    """

    module = models.CharField(max_length=64)
    version = models.CharField(max_length=160, help_text="The label of the tested version.")
    digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the tested sources.")
    suites = models.JSONField(default=list, help_text="The suites that were run, in their order.")
    passed = models.BooleanField(help_text="Whether every required test passed.")
    results = models.JSONField(default=list, help_text="One object a test: name, suite, outcome, message.")
    output = models.TextField(blank=True, help_text="The end of what the code printed.")
    actor = models.CharField(max_length=150)
    started_at = models.DateTimeField(db_index=True)
    duration_ms = models.FloatField()

    class Meta:
        db_table = "module_test_runs"
        ordering = ["-id"]
        indexes: ClassVar = [models.Index(fields=["module", "-id"], name="module_test_runs_latest")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(duration_ms__gte=0), name="module_test_runs_duration"),
            models.CheckConstraint(condition=~models.Q(module=""), name="module_test_runs_module"),
        ]

    def __str__(self) -> str:
        return f"{self.module} {self.version}: {'passed' if self.passed else 'failed'}"


def history(name: str, limit: int = 50) -> list[ModuleTestRun]:
    """The newest test runs of a module, the latest first; at most `limit`."""
    return list(ModuleTestRun.objects.filter(module=name)[: max(0, limit)])


def last_passed(name: str, digest: str) -> ModuleTestRun | None:
    """The newest run in which exactly this content of the module passed."""
    return ModuleTestRun.objects.filter(module=name, digest=digest, passed=True).first()
