"""How an instrument is named, so that it can be named again wherever one is: its symbol, behind its venue. Pure.

BRK.B, BTC/USD, ES=F, ^GSPC, EURUSD=X, 0700.HK, BTC-27DEC24-50000-C and M&M.NS are symbols, VALR:BTC-ZAR is one at a
venue. The whole name is what every table keeps. Case counts.
"""

from __future__ import annotations

import re
from typing import Final

from helios.entries import parts, quoted, trimmed
from helios.errors import DataError

MAX_LETTERS: Final = 32  # of the whole name
PATTERN: Final = (
    r"^([A-Z0-9][A-Z0-9_.-]*:)?[.^$@#/_]?[A-Za-z0-9][A-Za-z0-9.^$@#/_=+&!*~-]*$"  # the database's rule as well
)
_NAME: Final = re.compile(PATTERN[1:-1])


def check(name: str) -> str:
    """The name. Raises: DataError, one sentence, where it is none."""
    if len(name) > MAX_LETTERS or not _NAME.fullmatch(name):
        raise DataError(
            f"a symbol must be 1 to {MAX_LETTERS} letters, digits or . ^ $ @ # / _ = + & ! * ~ - in one word, "
            "such as BRK.B or BTC/USD, with its venue in capitals and a colon in front where that is named, "
            f"such as VALR:BTC-ZAR, was {quoted(name)}"
        )
    return name


def parse(text: str) -> str:
    """The name that a person typed, without the blanks around it. Raises: DataError as `check`."""
    return check(trimmed(text))


def listed(text: str) -> tuple[str, ...]:
    """The names of a list with commas between them, each once. Raises: DataError as `check`, or where none is."""
    found = tuple(dict.fromkeys(map(check, parts(text))))
    if not found:
        raise DataError(f"--symbols must name at least one symbol, was {quoted(text)}")
    return found


def split(name: str) -> tuple[str, str]:
    """Venue and symbol of a name; the venue is empty where none is named."""
    venue, _, symbol = name.rpartition(":")
    return venue, symbol
