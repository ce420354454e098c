"""The store and the listener of this process; `helios.flags` offers what is here to everybody."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.db import connection

from helios.flags import catalog, observers
from helios.flags.announce import Listener
from helios.flags.core.context import FlagContext
from helios.flags.core.parts import VariantResult
from helios.flags.reader import DatabaseReader, surroundings
from helios.flags.snapshots import FlagStore

_store = FlagStore(DatabaseReader(), catalog.defaults, surroundings=surroundings)
_starting = threading.Lock()
_listener: Listener | None = None

is_enabled = _store.is_enabled
explain = _store.explain
variant = _store.variant
snapshot = _store.snapshot
refresh_if_behind = _store.refresh_if_behind
wait_until = _store.wait_until
unknown = _store.unknown
forget = _store.forget


async def ais_enabled(name: str, context: FlagContext | None = None) -> bool:
    """`is_enabled` for coroutines: the first read, which asks the database, happens in a thread."""
    if not _store.loaded:
        await sync_to_async(_store.snapshot)()
    return is_enabled(name, context)


async def avariant(name: str, context: FlagContext | None = None) -> VariantResult:
    """`variant` for coroutines."""
    if not _store.loaded:
        await sync_to_async(_store.snapshot)()
    return variant(name, context)


def on_change(callback: Callable[[frozenset[str]], None]) -> Callable[[], None]:
    """Call back with the names of flags that may answer otherwise, after a new snapshot serves; returns its removal.

    It runs in the thread that saw the change: keep it short. What it raises is logged.
    """
    return _store.on_change(observers.of_names(callback))


def on_staleness(callback: Callable[[bool], None]) -> Callable[[], None]:
    """Call back with True when the flags begin to be stale, with False when they are current again."""
    return _store.on_change(observers.of_staleness(callback))


def start_listener() -> Listener:
    """Start hearing announcements in this process, once; call it again after a fork."""
    from django.conf import settings  # noqa: PLC0415 - settings are read when the process starts to listen

    global _listener  # noqa: PLW0603 - one listener a process
    with _starting:
        if _listener is None or not _listener.is_alive():
            _listener = Listener(_store, settings.REDIS_URL, after_read=_give_connection_back)
            _listener.start()
        return _listener


def _give_connection_back() -> None:
    """Close the calling thread's connection: a listener waits for hours between two reads."""
    connection.close()


def stop_listener() -> None:
    """Stop the listener, if one runs."""
    global _listener  # noqa: PLW0603
    with _starting:
        if _listener is not None:
            _listener.stop()
            _listener = None


def _after_fork() -> None:
    """Threads and held locks do not survive a fork; the snapshot does, and the next check renews it."""
    global _listener, _starting  # noqa: PLW0603
    _listener = None
    _starting = threading.Lock()
    _store.renew_locks()


os.register_at_fork(after_in_child=_after_fork)
