"""Models and what they said."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from trading.enums import Signal
from trading.models.columns import one_of, symbol_field, timeframe_field, values, within


class MLModel(models.Model):
    """A trained model: where it lies, what all of it hashes to, and how it did out of sample."""

    class Role(models.TextChoices):
        CHAMPION = "champion"
        CHALLENGER = "challenger"
        ARCHIVED = "archived"

    name = models.CharField(max_length=128, unique=True)
    preset = models.CharField(max_length=16)
    role = models.CharField(max_length=12, choices=Role.choices, default=Role.ARCHIVED)
    feature_set = models.CharField(max_length=32)
    feature_version = models.CharField(max_length=32, help_text="of the set that it was trained on")
    timeframe = timeframe_field()
    symbols = ArrayField(symbol_field())  # sorted
    horizon_bars = models.PositiveIntegerField()
    seed = models.BigIntegerField()
    path = models.TextField(help_text="its folder, relative to var/")
    weights_sha256 = models.CharField(max_length=64)
    artifact_sha256 = models.CharField(max_length=64, default="", help_text="over its whole card, weights included")
    card = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    trained_from = models.DateTimeField()
    trained_to = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "ml_models"
        ordering = ["-id"]
        verbose_name = "ML model"
        constraints = [
            models.UniqueConstraint(
                fields=["timeframe", "feature_set", "feature_version", "symbols"],
                condition=Q(role="champion"),
                name="ml_models_one_champion",
            ),
            models.UniqueConstraint(
                fields=["timeframe", "feature_set", "feature_version", "symbols"],
                condition=Q(role="challenger"),
                name="ml_models_one_challenger",
            ),
            one_of("role", ["champion", "challenger", "archived"], "ml_models_role"),
            models.CheckConstraint(condition=Q(horizon_bars__gt=0), name="ml_models_horizon_positive"),
            models.CheckConstraint(condition=Q(weights_sha256__regex=r"^[0-9a-f]{64}$"), name="ml_models_sha256"),
            models.CheckConstraint(
                condition=Q(artifact_sha256__regex=r"^([0-9a-f]{64})?$"), name="ml_models_artifact_sha256"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MLPrediction(models.Model):
    """The probabilities of one symbol in one cycle; all three missing means the symbol was neutral."""

    cycle = models.ForeignKey("trading.PipelineCycle", on_delete=models.PROTECT, related_name="predictions")
    model = models.ForeignKey(MLModel, null=True, blank=True, on_delete=models.PROTECT, related_name="predictions")
    symbol = symbol_field()
    timeframe = timeframe_field()
    bar_ts = models.DateTimeField()
    p_sell = models.FloatField(null=True)
    p_hold = models.FloatField(null=True)
    p_buy = models.FloatField(null=True)
    signal = models.CharField(max_length=4)
    horizon_bars = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "ml_predictions"
        ordering = ["-id"]
        verbose_name = "ML prediction"
        constraints = [
            models.UniqueConstraint(fields=["cycle", "symbol"], name="ml_predictions_once"),
            one_of("signal", values(Signal), "ml_predictions_signal"),
            within("p_sell", 0, 1, "ml_predictions_p_sell"),
            within("p_hold", 0, 1, "ml_predictions_p_hold"),
            within("p_buy", 0, 1, "ml_predictions_p_buy"),
        ]
        indexes = [models.Index(fields=["symbol", "timeframe", "bar_ts"], name="ml_predictions_bar")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.signal} {self.bar_ts:%Y-%m-%d %H:%M}"
