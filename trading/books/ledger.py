"""The hash-chained ledger of decisions: append and verify."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from helios.db.text import clean
from helios.errors import UNREAD
from trading.books.accounting import written
from trading.models import LedgerEntry

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a book's ledger, on which the next one follows."""

    sequence: int = 0
    hash: str = GENESIS

    @classmethod
    def of(cls, sequence: int | None, digest: str | None) -> Head:
        """The head out of its columns, which are empty where the book has no entry yet."""
        return cls(sequence or 0, digest or GENESIS)


@dataclass(frozen=True, slots=True)
class Break:
    """The first entry that does not follow from the one before it."""

    sequence: int
    expected: str
    found: str


def canonical(value: Any) -> Any:
    """The payload as it is stored and hashed: floats and decimals as text, so that JSON cannot change them.

    Texts are clean before they are hashed, since the database would hold them so.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float):
        return format(value, ".12g")
    if isinstance(value, Decimal):
        return written(value)
    return value


def entry_hash(previous: str, sequence: int, kind: str, payload: dict[str, Any]) -> str:
    """SHA-256 over the hash before, the position, the kind and the canonical payload."""
    body = orjson.dumps([previous, sequence, kind, payload], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


def wanted_hash(previous: str, sequence: int, entry: LedgerEntry) -> str | None:
    """The hash that an entry should have there; None, which no entry has, where its payload is none of `draft`'s."""
    try:
        return entry_hash(previous, sequence, entry.kind, entry.payload)
    except UNREAD:
        return None


def draft(
    book_id: int, cycle_id: int | None, kind: str, payload: dict[str, Any], *, head: Head | None = None
) -> LedgerEntry:
    """The entry that comes next on a book's ledger, not saved yet; `head` where it is known already."""
    head = head or head_of(book_id)
    sequence, stored = head.sequence + 1, canonical(payload)
    return LedgerEntry(
        book_id=book_id,
        cycle_id=cycle_id,
        sequence=sequence,
        kind=kind,
        payload=stored,
        previous_hash=head.hash,
        hash=entry_hash(head.hash, sequence, kind, stored),
    )


def head_of(book_id: int) -> Head:
    """The end of a book's ledger."""
    last = LedgerEntry.objects.filter(book_id=book_id).order_by("-sequence").values_list("sequence", "hash").first()
    return Head(*last) if last else Head()


def verify(book_id: int) -> Break | None:
    """Walk a book's chain from its beginning; the first break, or None when every entry holds."""
    previous, expected = GENESIS, 1
    entries = LedgerEntry.objects.filter(book_id=book_id).order_by("sequence")
    for entry in entries.iterator(chunk_size=50):
        wanted = wanted_hash(previous, expected, entry)
        if entry.sequence != expected or entry.previous_hash != previous or entry.hash != wanted:
            return Break(expected, wanted or "", entry.hash)
        previous, expected = entry.hash, expected + 1
    return None
