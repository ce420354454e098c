"""Feature flags -> `Switches`: read once at the start of a cycle, and kept in its row."""

from __future__ import annotations

from helios import flags
from tiers.contracts import Switches
from tiers.contracts.switches import decide
from trading.models import Book


def read(book: Book) -> Switches:
    """The flags as this book sees them now; its own overrides come first."""
    return decide(flags.asking(strategy=book.name), book.symbols, book.flag_overrides)
