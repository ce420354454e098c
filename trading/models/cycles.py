"""Cycles of the pipeline: one per book, timeframe, bar and shard, and the record of its seven stages."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from trading.models.books import Book
from trading.models.columns import one_of, timeframe_field


class Stage(models.TextChoices):
    """The tiers in the order a bar passes them; DONE is the state behind the last one."""

    INGEST = "ingest"
    FEATURES = "features"
    PREDICT = "predict"
    RISK = "risk"
    LLM = "llm"
    PORTFOLIO = "portfolio"
    EXECUTE = "execute"
    DONE = "done"

    @property
    def following(self) -> Stage:
        order = list(Stage)
        return order[order.index(self) + 1]


class PipelineCycle(models.Model):
    """One pass of one bar through the seven tiers. `stage` is the tier that has to run next."""

    class Status(models.TextChoices):
        RUNNING = "RUNNING"
        DONE = "DONE"
        FAILED = "FAILED"
        SKIPPED = "SKIPPED"

    book = models.ForeignKey("trading.Book", on_delete=models.PROTECT, related_name="cycles")
    timeframe = timeframe_field()
    bar_ts = models.DateTimeField()
    shard = models.PositiveSmallIntegerField(default=0)
    mode = models.CharField(max_length=8)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.RUNNING)
    stage = models.CharField(max_length=12, choices=Stage.choices, default=Stage.INGEST)
    reason = models.TextField(blank=True)
    switches = models.JSONField(default=dict, help_text="flags as read at the start")
    modules = models.JSONField(default=dict, help_text="module versions pinned")
    rollouts = models.JSONField(default=list, blank=True, help_text="challengers pinned: who decides which symbol")
    ledger_hash = models.CharField(max_length=64, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    progressed_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(
        null=True, blank=True, help_text="when the stage that is due was tried and first asked for another try"
    )
    tries = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="runs of the stage that is due since its chain was sent again, where challengers take part",
    )
    redriven = models.PositiveSmallIntegerField(
        default=0, help_text="times the chain was sent again for the stage that is due"
    )

    class Meta:
        db_table = "pipeline_cycles"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["book", "timeframe", "bar_ts", "shard", "mode"], name="pipeline_cycles_one_per_bar"
            ),
            models.UniqueConstraint(
                fields=["book", "shard"], condition=Q(status="RUNNING"), name="pipeline_cycles_one_running"
            ),
            one_of("mode", Book.Mode.values, "pipeline_cycles_mode"),
            one_of("stage", Stage.values, "pipeline_cycles_stage"),
            one_of("status", ["RUNNING", "DONE", "FAILED", "SKIPPED"], "pipeline_cycles_status"),
            models.CheckConstraint(
                condition=Q(status="RUNNING", finished_at__isnull=True)
                | (~Q(status="RUNNING") & Q(finished_at__isnull=False)),
                name="pipeline_cycles_finished_when_over",
            ),
        ]
        indexes = [
            models.Index(
                fields=["status", "progressed_at"], name="pipeline_cycles_open", condition=Q(status="RUNNING")
            ),
            models.Index(fields=["book", "-bar_ts"], name="pipeline_cycles_book_bar"),
        ]

    def __str__(self) -> str:
        return f"cycle {self.pk} {self.timeframe} {self.bar_ts:%Y-%m-%d %H:%M}"


class StageRun(models.Model):
    """What one tier did in one cycle: written once, in the transaction of the tier's own output."""

    cycle = models.ForeignKey(PipelineCycle, on_delete=models.PROTECT, related_name="stage_runs")
    stage = models.CharField(max_length=12, choices=Stage.choices)
    worker = models.CharField(max_length=128)
    module_version = models.CharField(max_length=96, blank=True)
    queue_ms = models.FloatField(help_text="from the end of the tier before to the start of this one")
    duration_ms = models.FloatField()
    fallback = models.CharField(max_length=64, blank=True)
    reason = models.TextField(blank=True)
    finished_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "pipeline_stage_runs"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["cycle", "stage"], name="pipeline_stage_runs_once"),
            one_of("stage", Stage.values[:-1], "pipeline_stage_runs_stage"),
            models.CheckConstraint(condition=Q(duration_ms__gte=0), name="pipeline_stage_runs_duration"),
        ]

    def __str__(self) -> str:
        return f"{self.stage} of cycle {self.cycle_id}"
