"""Lists of books and cycles. Writing goes through services and commands, not through here."""

from __future__ import annotations

from typing import Final

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView

from trading.api.serializers import BookSerializer, CycleFilter, CycleSerializer
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


@extend_schema(tags=["books"], summary="List books")
class BookList(ListAPIView[Book]):
    """All books, by name."""

    serializer_class = BookSerializer

    def get_queryset(self) -> QuerySet[Book]:
        return books()


@extend_schema(tags=["books"], summary="Read a book")
class BookDetail(RetrieveAPIView[Book]):
    """One book by its name."""

    serializer_class = BookSerializer
    lookup_field = "name"

    def get_queryset(self) -> QuerySet[Book]:
        return books()


@extend_schema(tags=["cycles"], summary="List cycles", parameters=[CycleFilter])
class CycleList(ListAPIView[PipelineCycle]):
    """Cycles, newest first; narrowed by book, status, timeframe and bar time."""

    serializer_class = CycleSerializer

    def get_queryset(self) -> QuerySet[PipelineCycle]:
        wanted = CycleFilter(data=self.request.query_params)
        wanted.is_valid(raise_exception=True)
        return cycles().filter(**{_LOOKUPS[name]: value for name, value in wanted.validated_data.items()})


@extend_schema(tags=["cycles"], summary="Read a cycle")
class CycleDetail(RetrieveAPIView[PipelineCycle]):
    """One cycle by its number."""

    serializer_class = CycleSerializer

    def get_queryset(self) -> QuerySet[PipelineCycle]:
        return cycles()
