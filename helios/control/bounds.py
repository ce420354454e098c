"""How much of each kind there may be: every process holds all of it in memory, and one worker does all that waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.db import models

FLAGS: Final = 500  # what ships with Helios is not counted: it always finds room
SEGMENTS: Final = 200
FLAG_BYTES: Final = 65_536  # of a flag or a segment, as JSON
FLAG_PATTERNS: Final = 20  # in one flag or segment
FLAG_RULES: Final = 100  # in one flag: an SDK is told up to six alternatives of each
FLAG_TOLD: Final = 524_288  # bytes that an SDK is told of one flag, about
FLAG_SEGMENTS: Final = 100  # named by one flag, in all its rules
ALL_BYTES: Final = 2 * 1_048_576  # of all flags and segments together, as JSON
FILE_BYTES: Final = 4 * ALL_BYTES  # of a file of them that a command reads: others write them at more length
PATTERNS: Final = 200  # in all of them
RULES: Final = 1_000
TOLD: Final = 4 * 1_048_576
BREAKERS: Final = 100
SLOTS: Final = 50  # of modules
UNTESTED: Final = 50  # versions of a slot that were registered and never tested
WAITING_TESTS: Final = 20  # tests and loads of modules that wait for the worker
WAITING_TESTS_OF_ONE: Final = 5  # of one person


def check_room(rows: models.QuerySet[models.Model], limit: int, what: str, refused: Callable[[str], Exception]) -> None:
    """Raise what `refused` makes where one row more would be more than `limit`."""
    if rows.count() >= limit:
        raise refused(f"there may be at most {limit} {what} beside those that ship with Helios, and there are")
