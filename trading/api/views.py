"""Lists of books and cycles. Writing goes through services and commands, not through here."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from drf_spectacular.utils import extend_schema_view
from rest_framework.generics import RetrieveAPIView

from helios.web.base_views import ApiView, ListView
from helios.web.openapi import described, listed
from trading.api.shapes import BookFilter, BookSerializer, CycleFilter, CycleSerializer
from trading.models import Book, PipelineCycle, PortfolioSnapshot, Position

_LOOKUPS: Final = {
    "book": "book__name",
    "status": "status",
    "timeframe": "timeframe",
    "since": "bar_ts__gte",
    "until": "bar_ts__lt",
}


def books() -> QuerySet[Book]:
    """Books by name with the equity of their last snapshot and the positions that are not flat."""
    last = PortfolioSnapshot.objects.filter(book=OuterRef("pk")).order_by("-bar_ts")
    held = Position.objects.exclude(quantity=0)
    return (
        Book.objects.order_by("name")
        .annotate(
            last_equity=Subquery(last.values("equity")[:1]),
            last_equity_ts=Subquery(last.values("bar_ts")[:1]),
        )
        .prefetch_related(Prefetch("positions", queryset=held))
    )


def cycles() -> QuerySet[PipelineCycle]:
    """Cycles, newest first, with book and stage runs."""
    return PipelineCycle.objects.select_related("book").prefetch_related("stage_runs").order_by("-id")


@listed("books", "List books", "books_list")
class BookList(ListView[Book]):
    """All books, by name."""

    serializer_class = BookSerializer
    filters = BookFilter
    lookups: ClassVar = {"mode": "mode", "active": "active", "state": "state"}

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[Book]:
        return books()


@extend_schema_view(get=described("books", "Read a book", "books_read", BookSerializer))
class BookDetail(ApiView, RetrieveAPIView[Book]):
    """One book by its name."""

    serializer_class = BookSerializer
    lookup_field = "name"

    def get_queryset(self) -> QuerySet[Book]:
        return books()


@listed("cycles", "List cycles", "cycles_list")
class CycleList(ListView[PipelineCycle]):
    """Cycles, newest first; narrowed by book, status, timeframe and bar time."""

    serializer_class = CycleSerializer
    filters = CycleFilter
    lookups: ClassVar = _LOOKUPS

    def rows(self, _wanted: dict[str, Any]) -> QuerySet[PipelineCycle]:
        return cycles()


@extend_schema_view(get=described("cycles", "Read a cycle", "cycles_read", CycleSerializer))
class CycleDetail(ApiView, RetrieveAPIView[PipelineCycle]):
    """One cycle by its number."""

    serializer_class = CycleSerializer

    def get_queryset(self) -> QuerySet[PipelineCycle]:
        if self.kwargs.get("pk", 0) >= 2**63:
            return PipelineCycle.objects.none()
        return cycles()
