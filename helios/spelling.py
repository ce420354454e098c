"""What was probably meant by a name that is not there."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from heapq import nlargest
from typing import Final

LONGEST: Final = 100  # letters of a name that are looked at
LIKELIEST: Final = 5  # names that are compared letter by letter: whoever chose all names could make that take seconds


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that looks most like it; empty where none does."""
    letters = Counter(name[:LONGEST])

    def shared(each: str) -> float:
        return (letters & Counter(each[:LONGEST])).total() / (len(name) + len(each))

    likeliest = nlargest(LIKELIEST, known, key=shared) if name else []
    found = difflib.get_close_matches(name[:LONGEST], [each[:LONGEST] for each in likeliest], n=1)
    return next((each for each in likeliest if found and each[:LONGEST] == found[0]), "")
