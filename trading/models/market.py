"""Market data: instruments, bars, trades, order books and the features made of bars."""

from __future__ import annotations

from uuid import uuid4

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now

from trading.enums import ActionKind, AssetClass, Side
from trading.models.columns import (
    finite,
    is_symbol,
    money,
    named,
    one_of,
    source_field,
    symbol_field,
    timeframe_field,
    values,
)
from trading.symbols import MAX_LETTERS

LONGEST_REASON = 255


class Instrument(models.Model):
    """What can be traded, and in which steps. `symbol` is its whole name, with its venue where one is named."""

    symbol = symbol_field(unique=True)
    venue = models.GeneratedField(
        expression=Func("symbol", Value("^[^:]*$|:.*"), Value(""), function="regexp_replace"),
        output_field=models.CharField(max_length=MAX_LETTERS),
        db_persist=True,
        help_text="where it is traded; empty where nobody said",
    )
    asset_class = models.CharField(max_length=16, choices=named(AssetClass))
    quantity_step = money()
    price_tick = money()
    min_notional = money(default=0)
    calendar = models.CharField(max_length=16, default="24/7")
    bars_token = models.UUIDField(
        default=uuid4, editable=False, help_text="another one after every write but that of the next bars"
    )
    actions_from = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="ex-time of its first corporate action; empty where it has none",
    )

    class Meta:
        db_table = "instruments"
        ordering = ["symbol"]
        constraints = [
            is_symbol("instruments"),
            models.CheckConstraint(condition=Q(quantity_step__gt=0), name="instruments_quantity_step_positive"),
            models.CheckConstraint(condition=Q(price_tick__gt=0), name="instruments_price_tick_positive"),
        ]

    def __str__(self) -> str:
        return str(self.symbol)


class MarketOHLC(models.Model):
    """One bar, named by its close in UTC. Statistics are float64 here; money is made of them only in orders.

    Partitioned by year on `bar_ts`; a correction raises `revision`, and `BarCorrection` keeps what it replaced.
    """

    pk = models.CompositePrimaryKey("symbol", "timeframe", "bar_ts")
    symbol = symbol_field()
    timeframe = timeframe_field()
    bar_ts = models.DateTimeField()
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    volume = models.FloatField()
    source = source_field()
    revision = models.PositiveIntegerField(default=0, db_default=0)
    ingested_at = models.DateTimeField(auto_now_add=True, db_default=Now())

    class Meta:
        db_table = "market_ohlc"
        constraints = [
            is_symbol("market_ohlc"),
            models.CheckConstraint(
                condition=Q(low__gt=0)
                & Q(low__lte=F("open"))
                & Q(low__lte=F("close"))
                & Q(low__lte=F("high"))
                & Q(high__gte=F("open"))
                & Q(high__gte=F("close")),
                name="market_ohlc_price_order",
            ),
            models.CheckConstraint(condition=Q(volume__gte=0), name="market_ohlc_volume_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.bar_ts:%Y-%m-%d %H:%M}"


class BarCorrection(models.Model):
    """What a correction of a bar replaced: the bar as it was at that `revision`. Append-only."""

    symbol = symbol_field()
    timeframe = timeframe_field()
    bar_ts = models.DateTimeField()
    revision = models.PositiveIntegerField()
    open = models.FloatField()
    high = models.FloatField()
    low = models.FloatField()
    close = models.FloatField()
    volume = models.FloatField()
    source = source_field()
    replaced_at = models.DateTimeField(auto_now_add=True, db_default=Now())

    class Meta:
        db_table = "bar_corrections"
        ordering = ["-id"]
        constraints = [is_symbol("bar_corrections")]
        indexes = [models.Index(fields=["symbol", "timeframe", "bar_ts"], name="bar_corrections_of_bar")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.bar_ts:%Y-%m-%d %H:%M} revision {self.revision}"


class CorporateAction(models.Model):
    """A split or a dividend of one instrument. Bars that close after `ex_ts` are without it; a correction raises
    `revision`.
    """

    symbol = symbol_field()
    ex_ts = models.DateTimeField(help_text="the beginning of the first day on which the price is without it, in UTC")
    kind = models.CharField(max_length=8, choices=named(ActionKind))
    value = money(
        help_text="a split's new shares for `per` old ones; a dividend's money a share, in the quote currency"
    )
    per = money(default=1)
    source = source_field()
    revision = models.PositiveIntegerField(default=0, db_default=0)
    stored_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "corporate_actions"
        ordering = ["symbol", "ex_ts", "kind"]
        constraints = [
            is_symbol("corporate_actions"),
            models.UniqueConstraint(fields=["symbol", "ex_ts", "kind"], name="corporate_actions_once"),
            one_of("kind", values(ActionKind), "corporate_actions_kind"),
            finite("corporate_actions", "value", "per"),
            models.CheckConstraint(condition=Q(value__gt=0) & Q(per__gt=0), name="corporate_actions_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.kind} {self.ex_ts:%Y-%m-%d}"


class MarketTrade(models.Model):
    """One public trade at an instrument's venue. Partitioned by month on `ts`."""

    pk = models.CompositePrimaryKey("symbol", "ts", "trade_id")
    symbol = symbol_field()
    ts = models.DateTimeField()
    trade_id = models.CharField(max_length=64)
    side = models.CharField(
        max_length=4, blank=True, help_text="of who took the offer; empty where the venue does not tell it"
    )
    price = money()
    quantity = money()

    class Meta:
        db_table = "market_trades"
        constraints = [
            is_symbol("market_trades"),
            models.CheckConstraint(condition=Q(price__gt=0) & Q(quantity__gt=0), name="market_trades_positive"),
            one_of("side", [*values(Side), ""], "market_trades_side"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.side} {self.quantity} @ {self.price}"


class OrderBookSnapshot(models.Model):
    """The best levels of the order book at an instrument's venue at one moment. Partitioned by month on `ts`."""

    pk = models.CompositePrimaryKey("symbol", "ts")
    symbol = symbol_field()
    ts = models.DateTimeField()
    sequence = models.BigIntegerField(default=0)
    bids = models.JSONField()
    asks = models.JSONField()

    class Meta:
        db_table = "orderbook_snapshots"
        constraints = [is_symbol("orderbook_snapshots")]

    def __str__(self) -> str:
        return f"{self.symbol} {self.ts:%Y-%m-%d %H:%M:%S}"


class EngineeredFeatures(models.Model):
    """The features of one bar, in the order that the feature set names; NaN is a missing value.

    A row belongs to the module version that made it, and is never read for another. Partitioned by year on `bar_ts`.
    """

    pk = models.CompositePrimaryKey("symbol", "timeframe", "feature_set", "version", "bar_ts")
    symbol = symbol_field()
    timeframe = timeframe_field()
    bar_ts = models.DateTimeField()
    feature_set = models.CharField(max_length=32)
    version = models.CharField(max_length=96, help_text="label of the module version")
    values = ArrayField(models.FloatField())
    created_at = models.DateTimeField(auto_now_add=True, db_default=Now())

    class Meta:
        db_table = "engineered_features"

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.bar_ts:%Y-%m-%d %H:%M} {self.feature_set}"


class FeedCoverage(models.Model):
    """Up to where all minutes of an instrument are known from its venue: one without a bar had no trade."""

    symbol = symbol_field(primary_key=True)
    until = models.DateTimeField()
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "feed_coverage"
        constraints = [is_symbol("feed_coverage")]

    def __str__(self) -> str:
        return f"{self.symbol} until {self.until:%Y-%m-%d %H:%M}"


class MarketGap(models.Model):
    """A time, (after, until], of which an instrument lacks bars that its venue was asked for and does not have."""

    pk = models.CompositePrimaryKey("symbol", "timeframe", "after")
    symbol = symbol_field()
    timeframe = timeframe_field()
    after = models.DateTimeField()
    until = models.DateTimeField()
    reason = models.CharField(max_length=LONGEST_REASON)
    found_at = models.DateTimeField(auto_now_add=True, db_default=Now())

    class Meta:
        db_table = "market_gaps"
        constraints = [
            is_symbol("market_gaps"),
            models.CheckConstraint(condition=Q(until__gt=F("after")), name="market_gaps_forward"),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} {self.after:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M}"
