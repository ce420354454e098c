"""Orders, fills, balances, and the book of the paper venue."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from trading.enums import ActionKind, Side
from trading.models.columns import ZERO, finite, money, one_of, symbol_field, values

SIDES = values(Side)


class Order(models.Model):
    """An order and its outbox entry: NEW waits to be sent, SENDING may have reached the venue."""

    class Status(models.TextChoices):
        NEW = "NEW"
        WITHHELD = "WITHHELD", "Withheld (never sent, see its reason)"
        SENDING = "SENDING"
        UNKNOWN = "UNKNOWN", "Unknown (venue has to be asked)"
        ACCEPTED = "ACCEPTED"
        FILLED = "FILLED"
        CANCELLED = "CANCELLED"
        REJECTED = "REJECTED"

    OPEN = ("NEW", "SENDING", "UNKNOWN", "ACCEPTED")

    book = models.ForeignKey("trading.Book", on_delete=models.PROTECT, related_name="orders")
    cycle = models.ForeignKey("trading.PipelineCycle", on_delete=models.PROTECT, related_name="orders")
    client_order_id = models.CharField(max_length=48, unique=True)
    venue_order_id = models.CharField(max_length=64, blank=True)
    symbol = symbol_field()
    side = models.CharField(max_length=4)
    quantity = money()
    filled_quantity = money(default=ZERO)
    reference_price = money()
    bar_ts = models.DateTimeField()
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.NEW)
    reason = models.TextField(blank=True)
    sending_at = models.DateTimeField(null=True, blank=True)  # empty: it surely never left
    superseded_by = models.ForeignKey(
        "trading.PipelineCycle",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="superseded",
        help_text="the later decision that counts on this order not being there; its sender asks for the cancel",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "orders"
        ordering = ["-id"]
        constraints = [
            one_of("side", SIDES, "orders_side"),
            one_of(
                "status",
                ["NEW", "WITHHELD", "SENDING", "UNKNOWN", "ACCEPTED", "FILLED", "CANCELLED", "REJECTED"],
                "orders_status",
            ),
            models.UniqueConstraint(fields=["cycle", "symbol", "side"], name="orders_one_per_decision"),
            finite("orders", "quantity", "filled_quantity", "reference_price"),
            models.CheckConstraint(
                condition=Q(superseded_by__isnull=True) | ~Q(status="NEW"), name="orders_superseded_never_sent"
            ),
            models.CheckConstraint(
                condition=Q(quantity__gt=0) & Q(filled_quantity__gte=0) & Q(filled_quantity__lte=F("quantity")),
                name="orders_quantities",
            ),
        ]
        indexes = [
            models.Index(
                fields=["status"],
                name="orders_open",
                condition=Q(status__in=["NEW", "SENDING", "UNKNOWN", "ACCEPTED"]),
            )
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity.normalize():f} {self.symbol} ({self.status})"


class TradeExecution(models.Model):
    """One fill. Append-only: cash and positions are sums over this table."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="executions")
    book = models.ForeignKey("trading.Book", on_delete=models.PROTECT, related_name="executions")
    venue_fill_id = models.CharField(max_length=96, unique=True)
    symbol = symbol_field()
    side = models.CharField(max_length=4)
    quantity = money()
    price = money()
    notional = money()
    fee = money()
    slippage_bps = models.DecimalField(max_digits=8, decimal_places=4, default=ZERO)
    bar_ts = models.DateTimeField(help_text="close of the bar in which the fill happened")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "trade_executions"
        ordering = ["-id"]
        constraints = [
            one_of("side", SIDES, "trade_executions_side"),
            finite("trade_executions", "quantity", "price", "notional", "fee"),
            models.CheckConstraint(
                condition=Q(quantity__gt=0) & Q(price__gt=0) & Q(notional__gt=0),
                name="trade_executions_positive",
            ),
        ]
        indexes = [models.Index(fields=["book", "symbol"], name="trade_executions_book_symbol")]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity.normalize():f} {self.symbol} @ {self.price.normalize():f}"


class BookedAction(models.Model):
    """What a split or a dividend did to a book's position, once. Append-only: beside fills, all that moves a book."""

    book = models.ForeignKey("trading.Book", on_delete=models.PROTECT, related_name="actions")
    symbol = symbol_field()
    ex_ts = models.DateTimeField()
    kind = models.CharField(max_length=8)
    value = money()
    per = money()
    quantity = money(help_text="held before, signed")
    remaining = money(help_text="held after; shares that make no lot were paid out")
    price = money(help_text="the open of the first bar without it")
    cash = money(help_text="what came to the cash")
    bar_ts = models.DateTimeField(help_text="close of that bar")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "booked_actions"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["book", "symbol", "ex_ts", "kind"], name="booked_actions_once"),
            one_of("kind", values(ActionKind), "booked_actions_kind"),
            finite("booked_actions", "value", "per", "quantity", "remaining", "price", "cash"),
            models.CheckConstraint(
                condition=Q(value__gt=0) & Q(per__gt=0) & Q(price__gt=0), name="booked_actions_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.symbol} {self.kind} {self.ex_ts:%Y-%m-%d}"


class Balance(models.Model):
    """What the venue says a book owns of one currency."""

    book = models.ForeignKey("trading.Book", on_delete=models.PROTECT, related_name="balances")
    venue = models.CharField(max_length=32)
    currency = models.CharField(max_length=16)
    total = money()
    available = money()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "balances"
        ordering = ["book", "currency"]
        constraints = [models.UniqueConstraint(fields=["book", "venue", "currency"], name="balances_once")]

    def __str__(self) -> str:
        return f"{self.total} {self.currency}"


class PaperOrder(models.Model):
    """The paper venue's own book of orders: what it accepted, found again by client order id."""

    class Status(models.TextChoices):
        OPEN = "OPEN"
        FILLED = "FILLED"
        CANCELLED = "CANCELLED"

    book = models.ForeignKey("trading.Book", on_delete=models.PROTECT, related_name="paper_orders")
    client_order_id = models.CharField(max_length=48, unique=True)
    symbol = symbol_field()
    side = models.CharField(max_length=4)
    quantity = money()
    bar_ts = models.DateTimeField(help_text="close of the bar of the decision; it fills in a later bar")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.OPEN)
    accepted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "paper_orders"
        ordering = ["-id"]
        constraints = [
            one_of("side", SIDES, "paper_orders_side"),
            finite("paper_orders", "quantity"),
            one_of("status", ["OPEN", "FILLED", "CANCELLED"], "paper_orders_status"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="paper_orders_quantity"),
        ]
        indexes = [models.Index(fields=["book"], name="paper_orders_open", condition=Q(status="OPEN"))]

    def __str__(self) -> str:
        return f"{self.side} {self.quantity.normalize():f} {self.symbol}"
