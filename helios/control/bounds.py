"""How much of each kind there may be: every process holds all of it in memory, and one worker does all that waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.db import models

WAITING_TESTS: Final = 20  # tests and loads of modules that wait for the worker
WAITING_TESTS_OF_ONE: Final = 5  # of one person


def check_room(rows: models.QuerySet[models.Model], limit: int, what: str, refused: Callable[[str], Exception]) -> None:
    """Raise what `refused` makes where one more row would be more than `limit`."""
    if rows.count() >= limit:
        raise refused(f"there must be at most {limit} {what}, and there are: take one away first")
