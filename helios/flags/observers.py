"""What a replaced snapshot means to those who listen: which flags may answer otherwise, whether it grew stale."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from helios.flags.core.definition import FlagDefinition
from helios.flags.snapshots import Snapshot

Replaced = Callable[[Snapshot, Snapshot], None]


def of_names(callback: Callable[[frozenset[str]], None]) -> Replaced:
    """Call back with the names of `differing`, when there are any."""

    def replaced(old: Snapshot, new: Snapshot) -> None:
        names = differing(old, new)
        if names:
            callback(names)

    return replaced


def of_staleness(callback: Callable[[bool], None]) -> Replaced:
    """Call back with True when the flags begin to be stale, with False when they are current again."""

    def replaced(old: Snapshot, new: Snapshot) -> None:
        if old.stale is not new.stale:
            callback(new.stale)

    return replaced


def differing(old: Snapshot, new: Snapshot) -> frozenset[str]:
    """The flags that may answer otherwise: changed ones, users of changed segments, and those that ask them."""
    changed = _changed(old.flags, new.flags)
    segments = _changed(old.segments, new.segments)
    changed |= {name for name, flag in new.flags.items() if segments.intersection(_segments(flag))}
    return frozenset(_with_askers(changed, new.flags))


def _changed(old: Mapping[str, object], new: Mapping[str, object]) -> set[str]:
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _segments(flag: FlagDefinition) -> Iterable[str]:
    yield from flag.segments
    for rule in flag.rules:
        yield from rule.segments


def _with_askers(names: set[str], flags: Mapping[str, FlagDefinition]) -> set[str]:
    """The names, and every flag that has one of them as a prerequisite, however far."""
    found, before = set(names), -1
    while len(found) != before:
        before = len(found)
        found |= {name for name, flag in flags.items() if any(each.feature in found for each in flag.prerequisites)}
    return found
