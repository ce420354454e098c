"""Feature flags -> `Switches`: read once at the start of a cycle, and kept in its row."""

from __future__ import annotations

from collections.abc import Sequence

from helios import flags
from tiers.contracts import Switches
from tiers.contracts.switches import decide
from trading.models import Book


def read(book: Book, *, symbols: Sequence[str] | None = None) -> Switches:
    """The flags as this book sees them now, for some of its symbols or all; its own overrides come first."""
    asked = book.symbols if symbols is None else symbols
    return decide(flags.asking(strategy=book.name), asked, book.flag_overrides)
