"""The modules as one process sees them: names resolved to implementations, without a query a call.

A process holds one snapshot of the table and replaces it whole when the highest generation has grown; tasks
check that at their start with `refresh_if_behind`. Between two checks every `resolve` and `pins` speaks of
the same versions, so no task sees half of a change.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

from django.db.models import Max

from helios.modules import loading
from helios.modules.errors import ModuleNotActive, UnknownModule
from helios.modules.models import Module, ModuleState


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveModule:
    """The implementation that stands for `name` now."""

    name: str
    version: str
    path: str
    implementation: loading.Implementation


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A registered module as the snapshot keeps it."""

    version: str
    path: str
    state: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole registry at one generation; `resolved` fills as names are asked for."""

    generation: int
    rows: dict[str, Row]
    resolved: dict[str, ActiveModule] = field(default_factory=dict)


_snapshot: Snapshot | None = None
_lock = threading.Lock()


def resolve(name: str) -> ActiveModule:
    """The active implementation of `name`.

    Raises `UnknownModule`, `ModuleNotActive` where it is not in use, and `ModuleLoadFailed` where this
    process cannot load what is registered.
    """
    snapshot = _current()
    found = snapshot.resolved.get(name)
    if found is None:
        found = _resolve(snapshot, name)
        snapshot.resolved[name] = found
    return found


def pins() -> dict[str, str]:
    """The versions of all active modules, name to version: what a cycle stores when it starts."""
    rows = _current().rows
    return {name: row.version for name, row in rows.items() if row.state == ModuleState.ACTIVE}


def generation() -> int:
    """The generation of the snapshot in use."""
    return _current().generation


def refresh_if_behind() -> bool:
    """Replace the snapshot when the table has changed since; True when it was replaced. One small query."""
    latest = Module.objects.aggregate(latest=Max("generation"))["latest"] or 0
    if _snapshot is not None and _snapshot.generation == latest:
        return False
    _replace()
    return True


def forget() -> None:
    """Drop the snapshot: the next question reads the table. Done after a fork, and between tests."""
    global _snapshot  # noqa: PLW0603 - one per process is the point
    _snapshot = None


def _current() -> Snapshot:
    snapshot = _snapshot
    return snapshot if snapshot is not None else _replace()


def _replace() -> Snapshot:
    global _snapshot  # noqa: PLW0603
    with _lock:
        rows = list(Module.objects.all())
        _snapshot = Snapshot(
            generation=max((row.generation for row in rows), default=0),
            rows={row.name: Row(version=row.version, path=row.path, state=row.state, error=row.error) for row in rows},
        )
        return _snapshot


def _resolve(snapshot: Snapshot, name: str) -> ActiveModule:
    row = snapshot.rows.get(name)
    if row is None:
        known = ", ".join(snapshot.rows) or "none"
        raise UnknownModule(f"no module is named {name!r}; there are {known}")
    if row.state != ModuleState.ACTIVE:
        why = f" ({row.error})" if row.error else ""
        raise ModuleNotActive(f"module {name} must be ACTIVE to be used, was {row.state}{why}")
    implementation = loading.load(name, row.path, row.version)
    return ActiveModule(name=name, version=row.version, path=row.path, implementation=implementation)


os.register_at_fork(after_in_child=forget)
