"""What can be done to a module. Every change is one transaction, has a generation, leaves an event."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from helios import events
from helios.modules import core, loading
from helios.modules.catalog import SHIPPED
from helios.modules.errors import ModuleLoadFailed, ModuleRefused, UnknownModule
from helios.modules.models import Module, ModuleState

USABLE = (ModuleState.LOADED, ModuleState.ACTIVE)


def register(
    name: str,
    path: str,
    version: str,
    *,
    dependencies: Mapping[str, str] | None = None,
    hot_reloadable: bool = True,
    actor: str = "system",
) -> Module:
    """Enter a module, or enter it anew with another path or version; it is UNLOADED afterwards.

    Raises `ModuleRefused` for a path outside the allowed packages, a version or range that is none, a
    missing or cyclic dependency, and for a module in use: that one has to be unloaded first.
    """
    with transaction.atomic():
        rows = _locked()
        row = rows.get(name) or Module(name=name)
        if row.state in (ModuleState.ACTIVE, ModuleState.LOADING):
            raise ModuleRefused(f"module {name} is {row.state}: unload it before it is registered anew")
        row.path, row.version, row.hot_reloadable = path, version, hot_reloadable
        row.dependencies = dict(dependencies or {})
        _check(rows, row)
        _move(row, ModuleState.UNLOADED, actor=actor, kind="module.registered")
    return row


def check_registration(name: str, path: str, version: str, dependencies: Mapping[str, str]) -> None:
    """Raises `ModuleRefused` where `register` would, for the module itself; changes nothing."""
    rows = {row.name: row for row in Module.objects.all()}
    _check(rows, Module(name=name, path=path, version=version, dependencies=dict(dependencies)))


def get(name: str) -> Module:
    """The registered module; raises `UnknownModule` naming those there are."""
    return _named({row.name: row for row in Module.objects.all()}, name)


def load(name: str, *, actor: str = "system") -> Module:
    """Import the module's code and check it; LOADED afterwards, or FAILED with the reason in its row.

    Raises `ModuleRefused` where a dependency is not loaded in a fitting version, `ModuleLoadFailed` where
    the code is at fault. An ACTIVE module stays as it is. The import runs outside the transaction: it may
    take long.
    """
    with transaction.atomic():
        rows = _locked()
        row = _named(rows, name)
        if row.state == ModuleState.ACTIVE:
            return row
        _check_dependencies(row, rows, USABLE)
        _move(row, ModuleState.LOADING, actor=actor)
    try:
        loading.load(row.name, row.path, row.version)
    except (ModuleLoadFailed, ModuleRefused) as error:
        _finish(row, ModuleState.FAILED, actor=actor, error=str(error))
        raise
    return _finish(row, ModuleState.LOADED, actor=actor)


def activate(name: str, *, actor: str = "system") -> Module:
    """Let the pipeline use a LOADED module from the next task on; loads it first where it is not.

    Raises as `load` does, and `ModuleRefused` where a dependency is not ACTIVE.
    """
    row = get(name)
    if row.state not in USABLE:
        row = load(name, actor=actor)
    if row.state == ModuleState.ACTIVE:
        return row
    with transaction.atomic():
        rows = _locked()
        row = _named(rows, name)
        if row.state != ModuleState.LOADED:
            raise ModuleRefused(f"module {name} must be LOADED to be activated, was {row.state}")
        _check_dependencies(row, rows, (ModuleState.ACTIVE,))
        _move(row, ModuleState.ACTIVE, actor=actor)
    return row


def unload(name: str, *, actor: str = "system") -> Module:
    """Take a module out of use from the next task on; `ModuleRefused` while another in use needs it."""
    with transaction.atomic():
        rows = _locked()
        row = _named(rows, name)
        users = [other.name for other in rows.values() if other.state in USABLE and name in other.dependencies]
        if users:
            raise ModuleRefused(f"module {name} is needed by {', '.join(users)}: unload them first")
        if row.state != ModuleState.UNLOADED:
            _move(row, ModuleState.UNLOADED, actor=actor)
    return row


def restore_shipped(*, actor: str = "system") -> list[str]:
    """Put back the shipped modules that are missing, as ACTIVE ones; returns their names."""
    made = []
    with transaction.atomic():
        rows = _locked()
        for shipped in SHIPPED:
            if shipped.name not in rows:
                row = Module(
                    name=shipped.name,
                    path=shipped.path,
                    version=shipped.version,
                    dependencies=dict(shipped.dependencies),
                )
                _move(row, ModuleState.ACTIVE, actor=actor, kind="module.registered")
                made.append(shipped.name)
    return made


def _locked() -> dict[str, Module]:
    """All modules by name; other changes wait, so that generations and states stay in order."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('modules'))")
    return {row.name: row for row in Module.objects.all()}


def _named(rows: Mapping[str, Module], name: str) -> Module:
    if name not in rows:
        raise UnknownModule(f"no module is named {name!r}; there are {', '.join(rows) or 'none'}")
    return rows[name]


def _check(rows: Mapping[str, Module], row: Module) -> None:
    core.check_path(row.path, loading.allowed_packages())
    core.Version.parse(row.version)
    core.check_dependencies(row.dependencies)
    core.load_order(
        {**{name: list(other.dependencies) for name, other in rows.items()}, row.name: list(row.dependencies)}
    )


def _check_dependencies(row: Module, rows: Mapping[str, Module], states: tuple[ModuleState, ...]) -> None:
    for needed, wanted in row.dependencies.items():
        other = rows.get(needed)
        if other is None:
            raise ModuleRefused(f"module {row.name} depends on {needed}, which is not registered")
        if not core.satisfies(other.version, wanted):
            raise ModuleRefused(f"module {row.name} needs {needed} {wanted}, but {other.version} is registered")
        if other.state not in states:
            expected = " or ".join(states)
            raise ModuleRefused(f"module {row.name} needs {needed} to be {expected}, was {other.state}")


def _finish(row: Module, state: ModuleState, *, actor: str, error: str = "") -> Module:
    """End a loading, unless somebody changed the module while its code was imported."""
    with transaction.atomic():
        current = _named(_locked(), row.name)
        if current.generation != row.generation:
            raise ModuleRefused(f"module {row.name} was changed while it was being loaded; load it again")
        _move(current, state, actor=actor, error=error)
    return current


def _move(row: Module, state: ModuleState, *, actor: str, error: str = "", kind: str = "module.state_changed") -> None:
    before, row.state, row.error = row.state, state, error
    if state == ModuleState.LOADED:
        row.loaded_at = timezone.now()
    row.generation = (Module.objects.aggregate(latest=Max("generation"))["latest"] or 0) + 1
    row.save()
    events.record(
        kind=kind,
        source="modules",
        subject=row.name,
        severity="warning" if state == ModuleState.FAILED else "info",
        data={"before": before, "after": state, "version": row.version, "actor": actor, "error": error},
    )
