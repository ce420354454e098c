"""Books and cycles over HTTP: reading them, and moving a book between its states."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Final

from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from drf_spectacular.utils import extend_schema_view
from rest_framework.generics import RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from helios.web.base_views import ActView, ApiView, ListView, actor, body, unknown
from helios.web.idempotency import idempotent
from helios.web.openapi import acted, described, listed, posted
from helios.web.shapes import Reasoned
from trading.api.shapes import BookFilter, BookSerializer, CycleFilter, CycleRow, CycleSerializer
from trading.books.read import as_shown
from trading.books.write import set_active, set_state
from trading.enums import TradingState
from trading.models import Book, PipelineCycle, PortfolioSnapshot, Position
from trading.orders.cycle_end import end_for

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
        as_shown(Book.objects.order_by("name"))
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


def get_book(name: str) -> Book:
    """The book, or 404 with the nearest name."""
    row = books().filter(name=name).first()
    if row is None:
        raise unknown("book", name, Book.objects.values_list("name", flat=True))
    return row


class _Act(ActView):
    """One thing that a person does to one book."""

    serializer_class = BookSerializer
    find = staticmethod(get_book)
    takes = Reasoned

    def shown(self, which: Any, *_: Any, **__: Any) -> Response:
        """The book as it is now; it has no version."""
        return Response(BookSerializer(get_book(which)).data)


@acted("books", "Halt a book", "books_halt")
class Halt(_Act):
    """It sends nothing, in a running cycle neither, until a trader lets it trade again."""

    does = staticmethod(partial(set_state, state=TradingState.HALTED))


@acted("books", "Let a book only reduce", "books_reduce")
class Reduce(_Act):
    """It only shrinks positions until a trader lets it trade again."""

    does = staticmethod(partial(set_state, state=TradingState.REDUCING))


@acted("books", "Let a book trade again", "books_resume")
class Resume(_Act):
    """For a reason, which must be given where it was held; its drawdown counts from now."""

    does = staticmethod(partial(set_state, state=TradingState.ACTIVE))


@acted("books", "Start a book", "books_start")
class Start(_Act):
    """Beat runs a cycle for every new bar."""

    does = staticmethod(partial(set_active, active=True))


@acted("books", "Stop a book", "books_stop")
class Stop(_Act):
    """No new cycles; what is held stays held."""

    does = staticmethod(partial(set_active, active=False))


@listed("cycles", "List cycles", "cycles_list")
class CycleList(ListView[PipelineCycle]):
    """Cycles, newest first; narrowed by book, status, timeframe and bar time."""

    serializer_class = CycleRow
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


@posted("cycles", "End a cycle", "cycles_end", CycleSerializer, Reasoned)
class EndCycle(ApiView):
    """One that runs ends as FAILED, for a reason, which must be given."""

    @idempotent()
    def post(self, request: Request, pk: int) -> Response:
        """What it has not sent is withheld; what may have left is asked about until its fate is known. One that has
        ended stays as it is; while a worker is at its stage, 409.
        """
        cycle = end_for(pk, actor=actor(request), **body(request, Reasoned))
        return Response(CycleSerializer(cycles().get(pk=cycle.pk)).data)
