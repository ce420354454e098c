"""How far work has come, for people at a terminal."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from helios.console import Console


def progress_of(console: Console, *, counted: bool = False, quiet: bool = False) -> Progress:
    """A bar a task, gone when all is done; nothing where nobody looks on. `counted` says how many of how many."""
    columns = (TextColumn("{task.description}"), BarColumn(), *(MofNCompleteColumn(),) * counted, TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
