"""Shapes of books and cycles; money is text, so that no client rounds it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from helios.web.shapes import Query, ReadOnlySerializer, ordering
from trading.books.read import currency, shown_state
from trading.enums import TradingState
from trading.models import Book, PipelineCycle, Position, StageRun
from trading.models.columns import Exact


class ExactNumber(serializers.DecimalField):
    """A decimal as text with all its digits, never with an exponent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": None, "decimal_places": None, "normalize_output": True} | options)


class PositionSerializer(ReadOnlySerializer[Position]):
    """What a book holds of one symbol: `cost` is what the open quantity cost, `average_price` that of one unit."""

    serializer_field_mapping = ReadOnlySerializer.serializer_field_mapping | {Exact: ExactNumber}
    average_price = ExactNumber(read_only=True)

    class Meta:
        model = Position
        fields = (
            *("symbol", "quantity", "cost", "average_price", "last_price"),
            *("realised_pnl", "fees_paid", "dividends", "updated_at"),
        )


class BookSerializer(ReadOnlySerializer[Book]):
    """One book with what it holds; `equity` is that of its last snapshot, null before the first.

    `trading_state` says whether it trades; `state` is what it may do where it runs, and it begins no cycle while
    `active` is false.
    """

    serializer_field_mapping = ReadOnlySerializer.serializer_field_mapping | {Exact: ExactNumber}
    positions = PositionSerializer(many=True, read_only=True)
    source = serializers.CharField(source="feed", read_only=True)  # type: ignore[assignment]  # a field of this name
    equity = ExactNumber(source="last_equity", allow_null=True, read_only=True)
    equity_ts = serializers.DateTimeField(source="last_equity_ts", allow_null=True, read_only=True)
    trading_state = serializers.SerializerMethodField(help_text="as `state`, and STOPPED where it may and does not run")
    currency = serializers.SerializerMethodField(help_text="of all amounts; null where nobody knows it")

    class Meta:
        model = Book
        fields = (
            *(
                "name",
                "mode",
                "active",
                "state",
                "trading_state",
                "timeframe",
                "symbols",
                "source",
                "currency",
                "initial_cash",
                "cash",
                "peak_equity",
            ),
            *("equity", "equity_ts", "positions", "created_at", "updated_at"),
        )

    def get_trading_state(self, book: Book) -> str:
        """In the word of the admin."""
        return shown_state(book)

    def get_currency(self, book: Book) -> str | None:
        """What its symbols are priced in."""
        return currency(book) or None


class StageRunSerializer(ReadOnlySerializer[StageRun]):
    """What one tier did in a cycle."""

    class Meta:
        model = StageRun
        fields = ("stage", "worker", "module_version", "queue_ms", "duration_ms", "fallback", "reason", "finished_at")


class CycleRow(ReadOnlySerializer[PipelineCycle]):
    """One pass of one bar through the tiers, with what each tier did; its switches have an address of their own."""

    book = serializers.SlugRelatedField[Book](slug_field="name", read_only=True)
    stages = StageRunSerializer(many=True, read_only=True, source="stage_runs")
    duration_ms = serializers.SerializerMethodField()

    class Meta:
        model = PipelineCycle
        fields: tuple[str, ...] = (
            *("id", "book", "timeframe", "bar_ts", "shard", "mode", "status", "stage", "reason"),
            *("started_at", "finished_at", "duration_ms", "redriven", "modules", "ledger_hash", "stages"),
        )

    def get_duration_ms(self, cycle: PipelineCycle) -> float | None:
        """From start to end; null while the cycle runs."""
        if cycle.finished_at is None:
            return None
        return round((cycle.finished_at - cycle.started_at).total_seconds() * 1000, 3)


class CycleSerializer(CycleRow):
    """One pass of one bar through the tiers, with what each tier did, and the flags as they were at its start."""

    class Meta(CycleRow.Meta):
        fields = (*CycleRow.Meta.fields, "switches")


class BookFilter(Query):
    """What `/api/books/` can be narrowed to."""

    mode = serializers.ChoiceField(choices=Book.Mode.choices, required=False)
    state = serializers.ChoiceField(choices=[*TradingState], required=False)
    active = serializers.BooleanField(required=False)
    ordering = ordering("name", "created_at", "updated_at")


class CycleFilter(Query):
    """What `/api/cycles/` can be narrowed to."""

    book = serializers.CharField(required=False, max_length=64)
    status = serializers.ChoiceField(choices=PipelineCycle.Status.choices, required=False)
    timeframe = serializers.CharField(required=False, max_length=4)
    since = serializers.DateTimeField(required=False, help_text="bars closing at or after")
    until = serializers.DateTimeField(required=False, help_text="bars closing before")
    ordering = ordering("id", "bar_ts")
