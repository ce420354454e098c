"""The store and the listener of this process; `helios.flags` offers what is here to everybody."""

from __future__ import annotations

from collections.abc import Callable

from helios.control import news
from helios.flags import catalog, observers
from helios.flags.core.context import FlagContext
from helios.flags.reader import DatabaseReader, evaluation_context
from helios.flags.snapshots import FlagStore

_store = FlagStore(DatabaseReader(), catalog.defaults, evaluation_context=evaluation_context)

is_enabled = _store.is_enabled
explain = _store.explain
variant = _store.variant
snapshot = _store.snapshot
refresh_if_behind = _store.refresh_if_behind
unknown = _store.unknown
forget = _store.forget


def asking(*, strategy: str) -> Callable[..., bool]:
    """`is_enabled` as a strategy asks it: `ask(flag)`, or `ask(flag, symbol="AAPL")`."""

    def ask(flag: str, *, symbol: str = "") -> bool:
        return is_enabled(flag, FlagContext(symbol=symbol, strategy=strategy))

    return ask


def on_change(callback: Callable[[frozenset[str]], None]) -> Callable[[], None]:
    """Call back with the names of flags that may answer otherwise, after a new snapshot serves; returns its removal.

    It runs in the thread that saw the change: keep it short. What it raises is logged.
    """
    return _store.on_change(observers.of_names(callback))


def on_staleness(callback: Callable[[bool], None]) -> Callable[[], None]:
    """Call back with True when the flags begin to be stale, with False when they are current again."""
    return _store.on_change(observers.of_staleness(callback))


def start_listener() -> news.Listener:
    """Start hearing of changes in this process, once; call it again after a fork."""
    return news.follow("flags", news.Follower(on_news=refresh_if_behind, on_redis=_redis_is_away))


def stop_listener() -> None:
    """Hear of them no more."""
    news.leave("flags")


def _redis_is_away(away: bool) -> None:
    _store.mark("redis", present=away)
