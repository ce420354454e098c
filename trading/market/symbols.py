"""What a symbol is: the name of an instrument as venues write it, so that it can be named again wherever one is. Pure.

BRK.B, BTC/USD, ES=F, ^GSPC, EURUSD=X, 0700.HK, BTC-27DEC24-50000-C and M&M.NS are symbols. A colon is none of their
letters: it is kept for the venue in front of one. Case counts.
"""

from __future__ import annotations

import re
from typing import Final

from helios.entries import parts, shown, trimmed
from helios.errors import DataError

MAX_LETTERS: Final = 32
PATTERN: Final = r"^[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$"  # the database holds to it as well
_SYMBOL: Final = re.compile(PATTERN[1:-1])


def check(symbol: str) -> str:
    """The symbol. Raises: DataError, one sentence, where it is none."""
    if len(symbol) > MAX_LETTERS or not _SYMBOL.fullmatch(symbol):
        raise DataError(
            f"a symbol must be 1 to {MAX_LETTERS} letters, digits or . ^ $ @ # / _ = + & ! * ~ - in one word, "
            f"such as BRK.B or BTC/USD, was {shown(symbol)}"
        )
    return symbol


def parse(text: str) -> str:
    """The symbol that a person typed, without the blanks around it. Raises: DataError as `check`."""
    return check(trimmed(text))


def listed(text: str) -> tuple[str, ...]:
    """The symbols of a list with commas between them, each once. Raises: DataError as `check`, or where none is."""
    found = tuple(dict.fromkeys(map(check, parts(text))))
    if not found:
        raise DataError(f"--symbols must name at least one symbol, was {shown(text)}")
    return found
