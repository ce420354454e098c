"""The first real calls after a switch: counted in each process, written down between tasks, rolled back when they fail.

    found = registry.resolve_pinned("predict", pins["predict"])
    try:
        values = watch.guarded(found).run(...)
    except WatchedCallFailed:
        before = registry.resolve_pinned("predict", watch.fallback_label("predict"))
        values = before.implementation.run(...)

and `watch.flush()` once the stage's transaction is over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

from helios.db.failures import UNAVAILABLE, lost
from helios.errors import Transient, error_text, plain
from helios.liveness import out_of_time, told_to_end
from helios.modules.errors import WatchedCallDelayed, WatchedCallFailed
from helios.modules.loading import ActiveModule

PASSED_ON = (*UNAVAILABLE, SoftTimeLimitExceeded)  # keep their class where they are so, whoever raises them


@dataclass(slots=True)
class Pending:
    """Calls of one switch that this process has counted and not written yet."""

    seen: int = 0
    failed: int = 0
    error: str = ""


def _unmarked(_: int | None) -> None:
    """A process without a listener tells nobody."""


_pending: dict[int, Pending] = {}
_mark: Callable[[int | None], None] = _unmarked
_lock = threading.Lock()


class Guarded:
    """A module: what any function of it raises leaves as an error of ours, with its words and nothing of its class.

    Under watch that is counted, and raised as `WatchedCallFailed`.
    """

    __slots__ = ("_active",)

    def __init__(self, active: ActiveModule) -> None:
        self._active = active

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own `run`: the one function whose good calls are counted, too."""
        result = self._called(self._active.implementation.run, *args, **kwargs)
        _count(self._active.watch, seen=1)
        return result

    def _called(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What may pass counts under watch once whoever makes the call again has given that up."""
        active = self._active
        watched = active.watch is not None
        try:
            if watched:
                _mark(active.watch)
            return function(*args, **kwargs)
        except BaseException as error:
            if told_to_end(error):
                raise
            raised = self._told(error)
        finally:
            if watched:
                _mark(None)
        if type(raised) is WatchedCallFailed:
            failed(active.watch, error_text(raised))
        raise raised  # out of its handler: nothing of a class of the module's leaves with it

    def _told(self, error: BaseException) -> Exception:
        active, away = self._active, lost(error)
        if active.watch is None:
            return plain(error, also=PASSED_ON if away or out_of_time(error) else ())
        if away or issubclass(type(error), Transient):
            return WatchedCallDelayed(active.name, active.version, error, active.watch)
        return WatchedCallFailed(active.name, active.version, error)

    def _part(self, name: str) -> Any:
        found = getattr(self._active.implementation, name)
        return wraps(found)(partial(self._called, found)) if callable(found) else found

    def __getattr__(self, name: str) -> Any:
        return self._called(self._part, name)


def guarded(active: ActiveModule) -> Any:
    """Something with the functions of the module, for whoever is to run on whatever these raise."""
    return Guarded(active)


def failed(swap_id: int | None, error: str) -> None:
    """Count a failed call, or a failed hook, of a module that was switched in by that swap; None is nobody's."""
    _count(swap_id, seen=1, failed=1, error=error)


def mark_with(mark: Callable[[int | None], None]) -> None:
    """Have `mark` told of the switch before each watched call, and of None after it."""
    global _mark  # noqa: PLW0603 - a process with a listener tells others which call it is in
    _mark = mark


def flush() -> list[str]:
    """Write the counts of this process down; returns the names that were rolled back for it.

    Call it outside of a transaction. Without watched calls since the last time it does nothing at all.
    """
    if not _pending:
        return []
    from helios.modules import swapping  # noqa: PLC0415 - the floor above asks this one to count

    with _lock:
        taken = dict(_pending)
        _pending.clear()
    rolled_back: list[str] = []
    for swap_id in list(taken):
        counts = taken[swap_id]
        try:
            name = swapping.watched(swap_id, seen=counts.seen, failed=counts.failed, error=counts.error)
        except BaseException:
            for other, left in taken.items():
                _count(other, seen=left.seen, failed=left.failed, error=left.error)
            raise
        del taken[swap_id]
        rolled_back += [name] if name else []
    return rolled_back


def fallback_label(name: str) -> str:
    """The label to run a call with that a watched module failed: the version before, or what is in use again."""
    from helios.modules.rows import find  # noqa: PLC0415

    row = find(name)
    chosen = row.previous or row.active
    return chosen.label if chosen is not None else row.version


def forget() -> None:
    """Drop what was counted and not written: a forked child has made none of these calls."""
    global _lock, _mark
    _lock, _mark = threading.Lock(), _unmarked
    _pending.clear()


def _count(swap_id: int | None, *, seen: int = 0, failed: int = 0, error: str = "") -> None:
    if swap_id is None:
        return
    with _lock:
        counts = _pending.setdefault(swap_id, Pending())
        counts.seen, counts.failed = counts.seen + seen, counts.failed + failed
        counts.error = counts.error or error


os.register_at_fork(after_in_child=forget)
