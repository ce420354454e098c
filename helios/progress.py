"""How far work has come, for people at a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from helios.console import Console

TOLD_EVERY_S = 10.0


def progress_of(console: Console, *, counted: bool = False, quiet: bool = False) -> Progress:
    """A bar a task, gone when all is done; nothing where nobody looks on. `counted` says how many of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), *(MofNCompleteColumn(),) * counted, TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


def telling(bar: Progress, *, quiet: bool) -> Callable[[str], None]:
    """Say how far the work is in a line now and then, for whom there is no bar to see it by."""
    told = time.monotonic()

    def tell(sentence: str) -> None:
        nonlocal told
        if bar.disable and not quiet and time.monotonic() - told >= TOLD_EVERY_S:
            told = time.monotonic()
            bar.console.print(sentence)

    return tell
