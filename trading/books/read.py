"""Reads of books: by name, what one holds, and where it is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from helios.db import statements
from helios.errors import Rejected
from trading.books.accounting import Account, Holding
from trading.enums import TradingState
from trading.models import Book, Position


def get_book(name: str) -> Book:
    """The book of this name; `Rejected` lists the names there are."""
    book = Book.objects.filter(name=name).first()
    if book is None:
        names = ", ".join(Book.objects.values_list("name", flat=True)[:10]) or "none"
        raise Rejected(f"book {name!r} does not exist; there are: {names}")
    return book


def shown_state(book: Book, *, runs: bool) -> str:
    """Its trading state for people: one that may trade and begins no cycle is STOPPED."""
    return book.state if runs or book.state != TradingState.ACTIVE else "STOPPED"


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
        )
        for p in (book.positions.all() if positions is None else positions)
    }
    return Account(book.cash, holdings)


def last_bar(book: Book) -> datetime | None:
    """The newest bar for which the book has a cycle."""
    return book.cycles.order_by("-bar_ts").values_list("bar_ts", flat=True).first()
