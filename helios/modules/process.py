"""The modules as one process sees them: names resolved to implementations, without a query a call.

A process holds one snapshot of the table and replaces it whole when the generation of the modules has changed; tasks
check that at their start with `refresh_if_behind`. Between two checks every `resolve` and `pins` speaks of
the same versions, so no task sees half of a change. What a cycle pinned is resolved with `resolve_pinned`, also long
after another version took the slot and in a process that never saw it there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from loguru import logger

from helios.control import generations, snapshot
from helios.db.failures import savepoint
from helios.errors import HeliosError, error_text
from helios.modules import hooks, loading, sources, watch
from helios.modules.core.dependencies import check_path
from helios.modules.errors import ModuleLoadFailed, ModuleNotActive, WatchedCallFailed
from helios.modules.loading import ActiveModule
from helios.modules.models import Module, ModuleCode, ModuleState, ModuleVersion
from helios.modules.rows import USABLE, find, named, version_of

log = logger.bind(component="modules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A slot as the snapshot keeps it."""

    label: str
    version: str
    path: str
    digest: str
    state: str
    error: str
    watch: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(snapshot.Snapshot):
    """The whole registry at one generation; the two maps fill as names and pins are asked for."""

    rows: Mapping[str, Row] = field(default_factory=dict)
    digests: Mapping[str, list[str]] = field(default_factory=dict)  # of what is in use in a slot, or was before
    resolved: dict[str, ActiveModule] = field(default_factory=dict)
    pinned: dict[tuple[str, str], ActiveModule] = field(default_factory=dict)


def resolve(name: str) -> ActiveModule:
    """The active implementation of `name`.

    Raises `UnknownModule`, `ModuleNotActive` where it is not in use, and `ModuleLoadFailed` where this
    process cannot load what is registered: as `WatchedCallFailed` while its first calls are watched.
    """
    held = _store.snapshot()
    found = held.resolved.get(name)
    return found if found is not None else _resolve(held, name, None)


def resolve_pinned(name: str, version: str) -> ActiveModule:
    """The implementation that was registered for `name` with this label, or with this plain version.

    For a plain version that has several contents: the one in use, then the one before it, then the newest.
    Raises `UnknownModule`, `ModuleNotActive` for one that has never passed its tests, whatever row asks for it, and
    `ModuleLoadFailed` where this process cannot load it.
    """
    held = _store.snapshot()
    row = held.rows.get(name)
    if row is not None and row.label == version and row.state == ModuleState.ACTIVE:
        return resolve(name)
    found = held.pinned.get((name, version))
    if found is None:
        found = held.pinned[name, version] = _pinned(held, name, version)
    return found


def pins() -> dict[str, str]:
    """The labels of all active modules by name: what a cycle stores when it starts."""
    rows = _store.snapshot().rows
    return {name: row.label for name, row in rows.items() if row.state == ModuleState.ACTIVE}


def generation() -> int:
    """The generation of the snapshot in use."""
    return _store.snapshot().generation


def served_generation() -> int:
    """The same without reading the table: 0 while this process has asked for nothing yet."""
    return max(_store.held.generation, 0)


def load_version(version: ModuleVersion) -> loading.Implementation:
    """Load a registered version beside what runs, from the kept sources, unless this process has it already.

    Raises `ModuleNotActive` for one that has never passed its tests: nobody asks to load it but its gate.
    """
    if version.state not in USABLE and version.loaded_at is None:
        raise ModuleNotActive(f"module {version} must have passed its tests to be loaded, it never did")
    return _implementation(version.module.name, version.digest, version.path, version.version)


def load_active() -> list[str]:
    """Load every active version, so that no task has to; returns what failed, a sentence each."""
    failed = []
    for version in ModuleVersion.objects.select_related("module").filter(state=ModuleState.ACTIVE):
        try:
            load_version(version)
        except HeliosError as error:
            failed.append(error_text(error))
            log.bind(module=version.module.name, error=error_text(error)).error("modules.not_loaded")
    return failed


def _load() -> Snapshot:
    state = generations.read()["modules"]  # before the rows: too old after a change in between, never too new
    rows = list(Module.objects.select_related("active", "previous"))
    used = {row.name: [each.digest for each in (row.active, row.previous) if each is not None] for row in rows}
    return Snapshot(state=state, rows={row.name: _row(row) for row in rows}, digests=used)


def _replaced(before: Snapshot, now: Snapshot) -> None:
    """What this process used goes on in the new snapshot; code that nobody will ask for again is dropped."""
    for name, old in before.resolved.items():
        _carry_over(now, name, old)
    loading.forget_old(now.digests)


def _row(row: Module) -> Row:
    used = row.active
    return Row(
        label=used.label if used is not None else row.version,
        version=used.version if used is not None else row.version,
        path=used.path if used is not None else row.path,
        digest=used.digest if used is not None else "",
        state=row.state,
        error=row.error,
        watch=row.watch_id,
    )


def _carry_over(now: Snapshot, name: str, old: ActiveModule) -> None:
    """A module that this process used goes on in the new snapshot; another version is told of its turn."""
    row = now.rows.get(name)
    if row is None or row.state != ModuleState.ACTIVE:
        return
    try:
        with savepoint():  # a module's own code runs when it is loaded
            _resolve(now, name, old)
    except HeliosError as error:
        log.bind(module=name, error=error_text(error)).error("modules.not_loaded")  # told again to whoever asks for it


def _resolve(held: Snapshot, name: str, before: ActiveModule | None) -> ActiveModule:
    row = named(held.rows, name)
    if row.state != ModuleState.ACTIVE:
        why = f" ({row.error})" if row.error else ""
        raise ModuleNotActive(f"module {name} must be ACTIVE to be used, was {row.state}{why}")
    with _store.lock:
        if name in held.resolved:
            return held.resolved[name]
        implementation = _watched_load(name, row)
        found = ActiveModule(
            name=name,
            version=row.label,
            path=row.path,
            digest=row.digest,
            implementation=implementation,
            watch=row.watch,
        )
        if before is None or before.digest != found.digest:
            _switched(before, found)
        held.resolved[name] = found
        return found


def _watched_load(name: str, row: Row) -> loading.Implementation:
    """Load a version for its calls; where these are watched, a process that cannot load it has made a failed one."""
    try:
        return _implementation(name, row.digest, row.path, row.version)
    except ModuleLoadFailed as error:
        if row.watch is None:
            raise
        failure = WatchedCallFailed(name, row.label, error)
        watch.failed(row.watch, str(failure))
        raise failure from None


def _switched(before: ActiveModule | None, now: ActiveModule) -> None:
    old = before.implementation if before is not None else None
    for sentence in hooks.switched(now.name, old, now.implementation, before.version if before is not None else ""):
        watch.failed(now.watch, sentence)


def _pinned(held: Snapshot, name: str, version: str) -> ActiveModule:
    row = find(name)
    alike = {each.pk: each for each in row.versions.select_related("module").filter(version=version)}
    preferred = next((alike[pk] for pk in (row.active_id, row.previous_id) if pk in alike), None)
    chosen = preferred or version_of(row, version)
    if chosen.pk == row.active_id and held.rows.get(name) == _row(row):
        return _resolve(held, name, None)
    return ActiveModule(
        name=name,
        version=chosen.label,
        path=chosen.path,
        digest=chosen.digest,
        implementation=load_version(chosen),
    )


def _implementation(name: str, digest: str, path: str, version: str) -> loading.Implementation:
    found = loading.loaded_copy(name, digest)
    if found is not None:
        return found
    check_path(path, loading.allowed_packages())
    code = ModuleCode.objects.filter(pk=digest).first()
    if code is None:
        raise ModuleLoadFailed(f"module {name} must have its sources kept, there are none: register {path} anew")
    return loading.load_code(name, digest, sources.unpacked(code.files), code.path, version=version)


_store = snapshot.Store("modules", Snapshot(), _load)
_store.on_change(_replaced)
refresh_if_behind = _store.refresh_if_behind
forget = _store.forget
os.register_at_fork(after_in_child=forget)
