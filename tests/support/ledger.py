"""Entries of a book's ledger, written by hand."""

from __future__ import annotations

from typing import Any

from trading.books import ledger
from trading.models import LedgerEntry


def append(book_id: int, cycle_id: int | None, kind: str, payload: dict[str, Any]) -> LedgerEntry:
    """The next entry; two writers at once collide on a unique constraint."""
    entry = ledger.draft(book_id, cycle_id, kind, payload)
    entry.save(force_insert=True)
    return entry
