"""What the risk engine and the strategic analyst decided, and on what grounds."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from trading.enums import Stance, TradingState
from trading.models.columns import one_of, symbol_field, timeframe_field, values, within


class VolatilityForecast(models.Model):
    """Next-bar volatility of one symbol (standard deviation of the log return); missing when unknown."""

    cycle = models.ForeignKey("trading.PipelineCycle", on_delete=models.PROTECT, related_name="volatilities")
    symbol = symbol_field()
    timeframe = timeframe_field()
    bar_ts = models.DateTimeField()
    sigma = models.FloatField(null=True)
    method = models.CharField(max_length=32, blank=True, help_text="how it was found, such as garch or ewma")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "volatility_forecasts"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["cycle", "symbol"], name="volatility_forecasts_once"),
            models.CheckConstraint(
                condition=Q(sigma__gt=0) | Q(sigma__isnull=True), name="volatility_forecasts_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.method} {self.bar_ts:%Y-%m-%d %H:%M}"


class RiskDecision(models.Model):
    """How much of each symbol the risk engine allowed; arrays follow the order of `symbols`."""

    cycle = models.OneToOneField("trading.PipelineCycle", on_delete=models.PROTECT, related_name="risk_decision")
    symbols = ArrayField(symbol_field())
    expected_return = ArrayField(models.FloatField())
    size = ArrayField(models.FloatField())
    max_weight = ArrayField(models.FloatField())
    leverage = models.FloatField()
    state = models.CharField(max_length=8)
    tail = models.JSONField(null=True, help_text="the limit on the loss of the worst bars, where one holds")
    denials = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "aether_risk_decisions"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(leverage__gte=0), name="aether_risk_decisions_leverage"),
            one_of("state", values(TradingState), "aether_risk_decisions_state"),
        ]

    def __str__(self) -> str:
        return f"risk of cycle {self.cycle_id}"


class MarketContextSnapshot(models.Model):
    """What the strategic analyst was shown."""

    cycle = models.OneToOneField("trading.PipelineCycle", on_delete=models.PROTECT, related_name="context")
    bar_ts = models.DateTimeField()
    regime = models.CharField(max_length=16)
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "market_context_snapshots"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.regime} {self.bar_ts:%Y-%m-%d %H:%M}"


class StrategicDecision(models.Model):
    """What the strategic analyst replied, and who it was: a language model, or the rules that stand in for it."""

    cycle = models.OneToOneField("trading.PipelineCycle", on_delete=models.PROTECT, related_name="strategic_decision")
    provider = models.CharField(max_length=32)
    stance = models.CharField(max_length=8)
    conviction = models.FloatField()
    risk_multiplier = models.FloatField()
    applied = models.BooleanField(help_text="whether the view was allowed to change the decision")
    reasoning = models.TextField(blank=True)
    usage = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "llm_strategic_decisions"
        ordering = ["-id"]
        verbose_name = "strategic decision"
        constraints = [
            one_of("stance", values(Stance), "llm_strategic_decisions_stance"),
            within("conviction", 0, 1, "llm_strategic_decisions_conviction"),
            within("risk_multiplier", 0, 1.5, "llm_strategic_decisions_multiplier"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.stance}"
