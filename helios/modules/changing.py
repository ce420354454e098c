"""What every change of a module goes through: one lock, the next generation, an event, news for the other processes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from helios import events
from helios.control import generations
from helios.modules import announce
from helios.modules.errors import UnknownModule
from helios.modules.models import Module, ModuleState, ModuleVersion

USABLE = (ModuleState.LOADED, ModuleState.ACTIVE)


def locked() -> dict[str, Module]:
    """All slots by name; other changes wait, so that generations and states stay in order."""
    generations.lock("modules")
    return {row.name: row for row in Module.objects.select_related("active", "previous")}


def named(rows: Mapping[str, Module], name: str) -> Module:
    """The slot of that name, or `UnknownModule` with those there are."""
    if name not in rows:
        raise UnknownModule(f"no module is named {name!r}; there are {', '.join(rows) or 'none'}")
    return rows[name]


def slot(name: str) -> Module:
    """The slot as it is in the table now."""
    return named({row.name: row for row in Module.objects.select_related("active", "previous")}, name)


def version_of(row: Module, version: str = "") -> ModuleVersion:
    """The version with that label, the newest with that plain version, or the newest of all.

    Raises `UnknownModule` naming the newest registered ones.
    """
    known = ModuleVersion.objects.select_related("module").filter(module=row).order_by("-id")
    if not version:
        found = known.first()
    else:
        found = known.filter(label=version).first() or known.filter(version=version).first()
    if found is None:
        labels = ", ".join(known.values_list("label", flat=True)[:10]) or "none"
        wanted = f"version {version}" if version else "version"
        raise UnknownModule(f"module {row.name} has no {wanted}; there are {labels}")
    return found


def changed(row: Module, kind: str, data: Mapping[str, Any], *, severity: str = "info") -> None:
    """Save a slot under the next generation with the face of what fills it; the event and the news go with it."""
    _show(row)
    row.generation = generations.advance("modules")
    row.save()
    events.record(kind=kind, source="modules", subject=row.name, severity=severity, data=dict(data))
    transaction.on_commit(partial(announce.announce, settings.REDIS_URL, f"generation {row.generation}"), robust=True)


def move(
    row: Module,
    version: ModuleVersion,
    state: ModuleState,
    *,
    actor: str,
    error: str = "",
    kind: str = "module.state_changed",
) -> None:
    """Give a version its next state, and the slot the next generation."""
    before, version.state, version.error = version.state, state, error
    if state == ModuleState.LOADED and before == ModuleState.LOADING:
        version.loaded_at = timezone.now()
    version.save()
    changed(
        row,
        kind,
        {
            "before": before,
            "after": state,
            "version": version.version,
            "label": version.label,
            "actor": actor,
            "error": error,
        },
        severity="warning" if state == ModuleState.FAILED else "info",
    )


def _show(row: Module) -> None:
    """The slot's own columns tell of the version in use, or of the newest one while none is."""
    shown = row.active or row.versions.order_by("-id").first()
    if shown is None:
        return
    row.path, row.version, row.dependencies = shown.path, shown.version, shown.dependencies
    row.state, row.error, row.loaded_at = shown.state, shown.error, shown.loaded_at
