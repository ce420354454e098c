"""A time limit on code that runs beside the work that matters."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tiers.contracts.errors import HeliosError


class TimeUp(HeliosError):  # noqa: N818 - what happened, as in the rest of the tree
    """The code took longer than it was given."""


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    """Raise `TimeUp` in the body when it takes longer than `limit_s`.

    By the process's interval timer, hence only in its main thread (where Celery's pool runs tasks); elsewhere there is
    no limit but the task's own. Native code is interrupted when it returns.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeUp(f"must answer within {limit_s:g} s, did not")

    before = signal.signal(signal.SIGALRM, ring)
    remaining, _ = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining)  # an outer timer goes on, a little later
        signal.signal(signal.SIGALRM, before)
