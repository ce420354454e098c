"""History that is never changed: mode switches and the hash-chained ledger of decisions."""

from __future__ import annotations

from django.db import models

from trading.models.columns import one_of


class TradingModeChange(models.Model):
    """Who moved a book from one mode or state to another, and why. Append-only."""

    book = models.ForeignKey("trading.Book", on_delete=models.PROTECT, related_name="mode_changes")
    before = models.CharField(max_length=32)
    after = models.CharField(max_length=32)
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True)
    ts = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "trading_mode_history"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.before} -> {self.after}"


class LedgerEntry(models.Model):
    """One decision of one stage. `hash` covers the payload and the hash before it, so that no entry can be
    changed, left out or put in later without notice. Append-only.
    """

    book = models.ForeignKey("trading.Book", on_delete=models.PROTECT, related_name="ledger")
    sequence = models.PositiveIntegerField()
    cycle = models.ForeignKey("trading.PipelineCycle", null=True, on_delete=models.PROTECT, related_name="ledger")
    kind = models.CharField(max_length=32)
    payload = models.JSONField()
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    ts = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "decision_ledger"
        ordering = ["-id"]
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(fields=["book", "sequence"], name="decision_ledger_sequence"),
            models.UniqueConstraint(fields=["book", "previous_hash"], name="decision_ledger_no_fork"),
            one_of(
                "kind",
                ["ingest", "features", "predict", "risk", "llm", "portfolio", "execute", "settle", "end"],
                "decision_ledger_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.sequence}"
