"""What an evaluation needs beside the context and the time, handed in by the shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _no_chance() -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationContext:
    """Where a process runs, and its chance: `draw` gives a number from 0 up to, not including, 1.

    The defaults are those of a test: no host, any environment, and a draw that always falls into the first bucket.
    """

    environment: str = ""  # of a context that names none
    hostname: str = ""
    draw: Callable[[], float] = _no_chance


NOWHERE = EvaluationContext()
