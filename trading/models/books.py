"""Books, what they hold, and how they got there."""

from __future__ import annotations

from decimal import Context, Decimal

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from trading.enums import TradingState
from trading.models.columns import ZERO, finite, is_symbol, money, named, one_of, symbol_field, timeframe_field, values
from trading.models.feeds import FEED_PATTERN, STORED, FeedField

TWELVE_DIGITS = Context(prec=12)


class Book(models.Model):
    """A named portfolio: its universe, its money and its trading state."""

    class Mode(models.TextChoices):
        REPLAY = "replay", "Replay (history, paper fills)"
        PAPER = "paper", "Paper (live data, paper fills)"
        LIVE = "live", "Live (real money)"

    name = models.CharField(max_length=64, unique=True, validators=[RegexValidator(r"^[a-z0-9][a-z0-9_.-]*\Z")])
    mode = models.CharField(max_length=8, choices=Mode.choices)
    active = models.BooleanField(default=False, help_text="beat starts cycles for active books")
    timeframe = timeframe_field()
    symbols = ArrayField(symbol_field())
    feed = FeedField(max_length=255, default=STORED, help_text="where ingest reads bars: table, sample or file:PATH")
    initial_cash = money()
    cash = money()
    peak_equity = money()
    state = models.CharField(max_length=8, choices=named(TradingState), default=TradingState.ACTIVE.value)
    held_by_person = models.BooleanField(
        default=False, help_text="a person set this state: the risk tier may worsen it and never ends it"
    )
    fee_bps = models.DecimalField(max_digits=8, decimal_places=4)
    slippage_bps = models.DecimalField(max_digits=8, decimal_places=4)
    params = models.JSONField(default=dict, blank=True)
    flag_overrides = models.JSONField(
        default=dict,
        blank=True,
        help_text="flags this book sees differently; replays trade on paper whatever auto_trading says",
    )
    model_name = models.CharField(max_length=128, blank=True, help_text="pinned model; empty follows the champion")
    strategy = models.JSONField(
        default=dict,
        blank=True,
        help_text="strategy that chooses the target weights, with its parameters; empty: tier 6 does",
    )
    replay_from = models.DateTimeField(null=True, blank=True)
    replay_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "portfolio_state"
        ordering = ["-id"]
        constraints = [
            one_of("mode", ["replay", "paper", "live"], "portfolio_state_mode"),
            one_of("state", values(TradingState), "portfolio_state_state"),
            finite("portfolio_state", "initial_cash", "cash", "peak_equity"),
            models.CheckConstraint(condition=Q(initial_cash__gt=0), name="portfolio_state_initial_cash_positive"),
            models.CheckConstraint(condition=Q(feed__regex=FEED_PATTERN), name="portfolio_state_feed"),
            models.CheckConstraint(condition=Q(symbols__len__gt=0), name="portfolio_state_has_symbols"),
            models.CheckConstraint(
                condition=Q(fee_bps__gte=0) & Q(slippage_bps__gte=0),
                name="portfolio_state_costs_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Position(models.Model):
    """What a book holds of one symbol. `cost` was paid for the open quantity; a short's is below 0, what it brought."""

    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="positions")
    symbol = symbol_field()
    quantity = money(default=ZERO)
    cost = money(default=ZERO)
    realised_pnl = money(default=ZERO)
    fees_paid = money(default=ZERO)
    dividends = money(default=ZERO, help_text="paid for what was held; below 0 where a short paid them")
    last_price = money(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "positions"
        ordering = ["book", "symbol"]
        constraints = [
            models.UniqueConstraint(fields=["book", "symbol"], name="positions_one_per_symbol"),
            models.CheckConstraint(
                condition=Q(quantity__gt=0, cost__gte=0) | Q(quantity=0, cost=0) | Q(quantity__lt=0, cost__lte=0),
                name="positions_cost",
            ),
            finite("positions", "quantity", "cost", "realised_pnl", "fees_paid", "last_price", "dividends"),
            is_symbol("positions"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity.normalize():f} {self.symbol}"

    @property
    def average_price(self) -> Decimal:
        """Cost of one unit of what is open in twelve significant digits, 0 where nothing is."""
        return TWELVE_DIGITS.divide(self.cost, self.quantity) if self.quantity else ZERO


class PortfolioSnapshot(models.Model):
    """A book at the close of one bar, after that bar's fills and before its new orders."""

    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="snapshots")
    cycle = models.OneToOneField("trading.PipelineCycle", on_delete=models.PROTECT, related_name="snapshot")
    bar_ts = models.DateTimeField()
    equity = money()
    cash = money()
    peak_equity = money()
    gross_exposure = models.FloatField()
    drawdown = models.FloatField()
    weights = models.JSONField(default=dict)

    class Meta:
        db_table = "portfolio_snapshots"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["book", "bar_ts"], name="portfolio_snapshots_once"),
            finite("portfolio_snapshots", "equity", "cash", "peak_equity"),
            models.CheckConstraint(
                condition=Q(drawdown__gte=0) & Q(drawdown__lte=1), name="portfolio_snapshots_drawdown"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.book_id} {self.bar_ts:%Y-%m-%d %H:%M} {self.equity}"


class RebalancingEvent(models.Model):
    """The weights a cycle wanted; arrays follow the order of `symbols`."""

    cycle = models.OneToOneField("trading.PipelineCycle", on_delete=models.PROTECT, related_name="rebalancing")
    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="rebalancings")
    bar_ts = models.DateTimeField()
    symbols = ArrayField(symbol_field())
    previous = ArrayField(models.FloatField())
    target = ArrayField(models.FloatField())
    turnover = models.FloatField()
    method = models.CharField(max_length=32)
    reason = models.CharField(max_length=64)
    denials = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "rebalancing_events"
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=Q(turnover__gte=0), name="rebalancing_events_turnover")]

    def __str__(self) -> str:
        return f"{self.reason} {self.bar_ts:%Y-%m-%d %H:%M}"
