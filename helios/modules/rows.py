"""Slots as they change: read under the lock of all modules, written with their generation and an event."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeVar

from django.utils import timezone

from helios.control.change import Subject
from helios.modules.errors import ModuleRefused, SeveralVersions, UnknownModule
from helios.modules.models import Module, ModuleState, ModuleVersion

MODULES: Final = Subject(name="modules", refused=ModuleRefused)
_HASH: Final = re.compile(r"[0-9a-f]{12,64}")
STATE: Final = ("state", "error", "loaded_at", "updated_at")  # columns of a version that change once it is registered
_SLOT: Final = ("path", "version", "dependencies", *STATE, "active", "previous", "watch", "generation")  # and of a slot
RELOAD: Final = ("reload_digest", "reload_error")  # of it, too, where somebody chose or looked at files: no worker does
USABLE = (ModuleState.LOADED, ModuleState.ACTIVE)
Slot = TypeVar("Slot")


def slots() -> dict[str, Module]:
    """All slots by name; for a change, read inside `MODULES.changing` or `MODULES.alone`."""
    return {row.name: row for row in Module.objects.select_related("active", "previous")}


def named(rows: Mapping[str, Slot], name: str) -> Slot:
    """The slot of that name, or `UnknownModule` with those there are."""
    if name not in rows:
        raise UnknownModule(f"no module is named {name!r}; there are {', '.join(rows) or 'none'}")
    return rows[name]


def find(name: str) -> Module:
    """The slot as it is in the table now."""
    return named(slots(), name)


def version_of(row: Module, version: str = "", *, only: bool = False) -> ModuleVersion:
    """The version with that label, with that hash or its first 12 digits or more, or with that plain version.

    Without any: the newest one, or, where `only`, the only one. Raises `UnknownModule` naming the newest registered
    ones, and `SeveralVersions` where more than one is meant: code may be registered between a look and a decision.
    """
    known = ModuleVersion.objects.select_related("module").filter(module=row).order_by("-id")
    if not version:
        found = list(known[: 2 if only else 1])
    elif _HASH.fullmatch(version):
        found = list(known.filter(code__digest__startswith=version))
    else:
        found = list(known.filter(label=version)) or list(known.filter(version=version))
    if not found:
        labels = ", ".join(known.values_list("label", flat=True)[:10]) or "none"
        wanted = f"version {version}" if version else "version"
        raise UnknownModule(f"module {row.name} has no {wanted}; there are {labels}")
    if len(found) > 1:
        labels = ", ".join(each.label for each in found[:10])
        meant = f"{version} may be" if version else "there are"
        raise SeveralVersions(
            f"a version of module {row.name} must be named by its label or by 12 digits of its hash: {meant} {labels}"
        )
    return found[0]


def changed(
    row: Module, kind: str, data: Mapping[str, Any], *, severity: str = "info", also: Collection[str] = ()
) -> None:
    """Save a slot under the next generation with the face of what fills it; the event and the news go with it.

    `also`: further fields that changed.
    """
    _show(row)
    row.generation = MODULES.moved()
    row.save(update_fields=[*_SLOT, *also])
    MODULES.record(kind, row.name, data, severity=severity)


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
    if state == ModuleState.LOADED and before not in USABLE:
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


def passed(version: ModuleVersion, *, actor: str) -> None:
    """Make a version LOADED that has just passed its tests and is of no use yet: processes load no other."""
    with MODULES.alone():
        found = ModuleVersion.objects.select_related("module").get(pk=version.pk)
        if found.state not in USABLE:
            move(slots()[found.module.name], found, ModuleState.LOADED, actor=actor)


def _show(row: Module) -> None:
    """The slot's own columns tell of the version in use, or of the newest one while none is."""
    shown = row.active or row.versions.order_by("-id").first()
    if shown is None:
        return
    row.path, row.version, row.dependencies = shown.path, shown.version, shown.dependencies
    row.state, row.error, row.loaded_at = shown.state, shown.error, shown.loaded_at
