"""Reads of books: by name, what one holds, and where it is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, QuerySet

from helios.db import statements
from helios.errors import DataError, Rejected
from trading.books.accounting import Account, Holding
from trading.enums import AssetClass, TradingState
from trading.market import instruments
from trading.models import Book, Instrument, PipelineCycle, Position


def get_book(name: str) -> Book:
    """The book of this name; `Rejected` lists the names there are."""
    book = Book.objects.filter(name=name).first()
    if book is None:
        names = ", ".join(Book.objects.values_list("name", flat=True)[:10]) or "none"
        raise Rejected(f"book {name!r} does not exist; there are: {names}")
    return book


def as_shown(books: QuerySet[Book]) -> QuerySet[Book]:
    """The books, each with those of its symbols that are stocks, for `currency`, and whether it runs a cycle now."""
    traded = Func(
        F("symbol"),
        OuterRef("symbols"),
        template="(%(expressions)s))",
        arg_joiner=" = ANY(",
        output_field=BooleanField(),
    )
    stocks = Instrument.objects.filter(traded, asset_class=AssetClass.EQUITY.value)
    cycles = PipelineCycle.objects.filter(book=OuterRef("pk"), status=PipelineCycle.Status.RUNNING)
    return books.annotate(stocks=ArraySubquery(stocks.values("symbol")), runs=Q(active=True) | Exists(cycles))


def currency(book: Book) -> str:
    """What the book's amounts are in; empty where that of any symbol is not known."""
    stocks: list[str] | None = getattr(book, "stocks", None)
    named = (
        instruments.named(book.symbols)
        if stocks is None
        else [Instrument(symbol=symbol, asset_class=AssetClass.EQUITY.value) for symbol in stocks]
    )
    try:
        return instruments.currency(book.symbols, named)
    except DataError:  # they differ since an asset class was corrected
        return ""


def shown_state(book: Book) -> str:
    """Whether a book of `as_shown` trades, in one word: STOPPED is one that may, if only less, and begins no cycle."""
    runs: bool = getattr(book, "runs")  # noqa: B009 - as annotated
    return book.state if runs or book.state == TradingState.HALTED else "STOPPED"


def locked(book_id: int) -> Book:
    """The book as it is now; nobody else changes it, or locks it, until the transaction ends."""
    (book,) = statements.select(Book, "t.id = %s FOR NO KEY UPDATE", [book_id])
    return book


def account_of(book: Book, positions: Iterable[Position] | None = None) -> Account:
    """The book's cash and holdings for the pure accounting functions; `positions` where they are read already."""
    holdings = {
        p.symbol: Holding(
            quantity=p.quantity,
            cost=p.cost,
            realised_pnl=p.realised_pnl,
            fees_paid=p.fees_paid,
            dividends=p.dividends,
        )
        for p in (book.positions.all() if positions is None else positions)
    }
    return Account(book.cash, holdings)


def last_bar(book: Book) -> datetime | None:
    """The newest bar for which the book has a cycle."""
    return book.cycles.order_by("-bar_ts").values_list("bar_ts", flat=True).first()
