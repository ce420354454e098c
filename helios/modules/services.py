"""What can be done to a module. Every change is one transaction, has a generation, leaves an event."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from loguru import logger

from helios.control import bounds
from helios.modules import compatibility, loading, sources
from helios.modules.catalog import SHIPPED, STAGES
from helios.modules.core.dependencies import check_name, check_path
from helios.modules.core.versions import label_of, parse
from helios.modules.errors import AlreadyTested, ModuleLoadFailed, ModuleRefused
from helios.modules.gate import runs
from helios.modules.models import OPEN_SWAPS, Module, ModuleCode, ModuleState, ModuleVersion
from helios.modules.rows import MODULES, RELOAD, USABLE, changed, find, move, named, slots, version_of
from helios.modules.sources import Declaration, SourceCode
from helios.modules.swapping import fill_slot, recover, rollback, swap

__all__ = [
    "activate",
    "check_registration",
    "configure",
    "load",
    "recover",
    "register",
    "restore_shipped",
    "rollback",
    "seal",
    "swap",
    "unload",
]


def register(
    name: str,
    path: str,
    version: str = "",
    *,
    dependencies: Mapping[str, str] | None = None,
    hot_reloadable: bool | None = None,
    new_slot: bool = True,
    actor: str = "system",
) -> ModuleVersion:
    """Read the code behind `path` and keep it as a version of the slot `name`, UNLOADED.

    `new_slot`: makes the slot where there is none; else `UnknownModule`: a name is most likely misspelt, and a slot is
    never taken away.
    Nothing is imported. The same content is the same version: registered again, a FAILED one may be tried again, and
    one that passed its tests stays as it was tested.
    `dependencies`: without them those of a version that passed stay, else those in the code's DEPENDENCIES hold, else
    those of the version in use. `hot_reloadable`: of a slot that this makes; another one is configured.
    Raises `ModuleRefused` for a path outside the allowed packages, code that cannot be parsed or states no VERSION
    or another than `version`, a bad range, a missing or circular dependency, and `AlreadyTested` for what would
    change what was tested or how a slot that is there may be changed.
    """
    artefact, stated = _read(name, path, version, new_slot=new_slot)
    with MODULES.changing(actor=actor):
        rows = slots()
        if name not in rows:
            others = Module.objects.exclude(name__in=STAGES)
            bounds.check_room(others, bounds.SLOTS, "slots of modules", ModuleRefused)
        return _enter(rows, name, artefact, stated, dependencies, hot_reloadable=hot_reloadable, actor=actor)


def check_registration(name: str, path: str, version: str, dependencies: Mapping[str, str], *, new_slot: bool) -> None:
    """Raises `ModuleRefused` and `UnknownModule` where `register` would; changes nothing."""
    _read(name, path, version, new_slot=new_slot)
    compatibility.check_graph({row.name: row for row in Module.objects.all()}, name, dependencies)


def load(name: str, version: str = "", *, actor: str = "system") -> ModuleVersion:
    """Run the suites that gate the slot on a version (the newest by default): LOADED afterwards, or FAILED and why.

    Raises `ModuleRefused` where a dependency is not loaded in a fitting version, `ModuleLoadFailed` where the code is
    at fault. An ACTIVE version stays as it is, and so does the one that a roll-back brings, whatever its tests say. The
    tests run outside the transaction: they may take long.
    """
    with MODULES.changing(actor=actor):
        rows = slots()
        row = loadable(rows, name, version)
        if row.state == ModuleState.ACTIVE:
            return row
        before = ModuleState(row.state)
        if not _is_way_back(rows[name], row):
            move(rows[name], row, ModuleState.LOADING, actor=actor)
    try:
        problem = runs.passes(row, actor=actor)
    except BaseException:
        _finish(row, ModuleState.UNLOADED if before == ModuleState.LOADING else before, actor=actor)
        raise
    if problem:
        _finish(row, ModuleState.FAILED, actor=actor, error=f"module {name} {problem}")
        raise ModuleLoadFailed(f"module {name} {problem}")
    return _finish(row, ModuleState.LOADED, actor=actor)


def activate(name: str, version: str = "", *, actor: str = "system") -> ModuleVersion:
    """Fill an empty slot from the next task on, with a version that passes the suites that gate it now.

    `version` may be left out where the slot has only one.
    Raises as `load` does, and `ModuleRefused` where a dependency is not ACTIVE or another version is in use:
    that one is swapped.
    """
    with MODULES.alone():
        row = activatable(slots(), name, version)
    row = load(name, row.label, actor=actor)
    with MODULES.changing(actor=actor):
        rows = slots()
        row = activatable(rows, name, row.label)
        if row.state == ModuleState.ACTIVE:
            return row
        if row.state != ModuleState.LOADED:
            raise ModuleRefused(f"module {name} must be LOADED to be activated, was {row.state}")
        _take(rows[name], row, actor=actor)
    return row


def loadable(rows: Mapping[str, Module], name: str, version: str) -> ModuleVersion:
    """The version, if it may be tested now; raises `ModuleRefused` as `load` does."""
    slot = named(rows, name)
    row = version_of(slot, version)
    if row.state != ModuleState.ACTIVE:
        _refuse_open(slot)
        check_path(row.path, loading.allowed_packages())
        compatibility.check_needs(row, rows, USABLE)
    return row


def activatable(rows: Mapping[str, Module], name: str, version: str) -> ModuleVersion:
    """The version, if it may fill its slot now, or once it is loaded; raises `ModuleRefused` as `activate` does."""
    slot = named(rows, name)
    row = version_of(slot, version, only=True)
    if row.state != ModuleState.ACTIVE:
        if slot.active is not None:
            raise ModuleRefused(f"module {name} is in use as {slot.active.label}: swap it to {row.label}")
        _refuse_open(slot)
        compatibility.check_switch(row, rows)
    return row


def unload(name: str, version: str = "", *, actor: str = "system") -> ModuleVersion:
    """Take a version (the one in use by default) out of use from the next task on.

    Running cycles that pinned it end with it. Raises `ModuleRefused` while another module needs the slot, while it is
    being swapped, and for the version before, which a roll-back brings.
    """
    with MODULES.changing(actor=actor):
        rows = slots()
        slot = named(rows, name)
        row = version_of(slot, version) if version or slot.active is None else slot.active
        _refuse_open(slot)
        if _is_way_back(slot, row):
            raise ModuleRefused(f"module {name} {row.label} is what a roll-back brings: put another version in first")
        users = compatibility.users_of(rows, name)
        if users and _last_usable(slot, row):
            raise ModuleRefused(f"module {name} is needed by {', '.join(users)}: unload them first")
        if row.state != ModuleState.UNLOADED:
            if slot.active_id == row.pk:
                slot.active = slot.watch = None
            move(slot, row, ModuleState.UNLOADED, actor=actor)
    return row


def configure(
    name: str,
    *,
    hot_reloadable: bool | None = None,
    watch_calls: int | None = None,
    watch_failures: int | None = None,
    actor: str = "system",
) -> Module:
    """How a slot may be changed, and how its switches are watched. Raises `ModuleRefused` for a number out of range."""
    for field, value, lowest in (("watch_calls", watch_calls, 0), ("watch_failures", watch_failures, 1)):
        if value is not None and not lowest <= value <= 1_000_000:
            raise ModuleRefused(f"{field} must be a whole number from {lowest} to 1000000, was {value}")
    wanted = {"hot_reloadable": hot_reloadable, "watch_calls": watch_calls, "watch_failures": watch_failures}
    changes = {field: value for field, value in wanted.items() if value is not None}
    with MODULES.changing(actor=actor):
        slot = named(slots(), name)
        before = {field: getattr(slot, field) for field in changes}
        if before != changes:
            for field, value in changes.items():
                setattr(slot, field, value)
            changed(slot, "module.configured", {"before": before, "after": changes, "actor": actor}, also=changes)
    return slot


def restore_shipped(*, actor: str = "system") -> list[str]:
    """Put back the shipped modules that are missing, as ACTIVE ones; returns their names."""
    made = []
    with transaction.atomic():
        for shipped in SHIPPED:
            rows = slots()
            if shipped.name not in rows:
                artefact = sources.read(shipped.path, loading.DEFAULT_PACKAGES)
                stated = sources.declaration_of(artefact)
                row = _enter(rows, shipped.name, artefact, stated, shipped.dependencies, actor=actor)
                _take(slots()[shipped.name], row, actor=actor)
                made.append(shipped.name)
    return made


def seal(*, actor: str = "migration") -> list[str]:
    """Keep the sources of versions from before sources were kept, as they lie on disk now; returns the slots.

    Their code was whatever lay there, so version and label follow what is found. What is not found stays as it is
    and says so, here and when it is asked for.
    """
    sealed = []
    with MODULES.alone():
        rows = slots()
        for row in ModuleVersion.objects.select_related("module").filter(code=None):
            try:
                artefact = sources.read(row.path, loading.allowed_packages())
                row.version = sources.declaration_of(artefact).version
            except ModuleRefused as error:
                logger.bind(module=row.module.name, label=row.label, error=str(error)).warning("module.not_sealed")
                continue
            row.code, row.label = _kept(artefact), label_of(row.version, artefact.digest)
            row.save()
            slot = rows[row.module.name]
            slot.refresh_from_db()
            changed(slot, "module.sealed", {"label": row.label, "actor": actor})
            sealed.append(slot.name)
    return sealed


# --- steps ---


def _read(name: str, path: str, version: str, *, new_slot: bool) -> tuple[SourceCode, Declaration]:
    """The code behind `path` and what it states, as a version of this slot."""
    check_name(name)
    if not new_slot:
        find(name)
    artefact = sources.read(path, loading.allowed_packages())
    stated = sources.declaration_of(artefact)
    if version and parse(version) != parse(stated.version):
        raise ModuleRefused(f"module {name} is registered as {version}, but the code in {path} is {stated.version}")
    return artefact, stated


def _enter(
    rows: Mapping[str, Module],
    name: str,
    artefact: SourceCode,
    stated: Declaration,
    dependencies: Mapping[str, str] | None,
    *,
    hot_reloadable: bool | None = None,
    actor: str,
) -> ModuleVersion:
    slot, label = rows.get(name), label_of(stated.version, artefact.digest)
    if slot is None:
        slot = Module(name=name, path=artefact.path, version=stated.version)
        slot.hot_reloadable = hot_reloadable is not False
    elif hot_reloadable not in (None, slot.hot_reloadable):
        raise AlreadyTested(f"module {name} is there: `modules configure` says whether it is hot_reloadable")
    row = ModuleVersion.objects.filter(module__name=name, label=label).first() or ModuleVersion(label=label)
    tested = row.state in USABLE
    if row.code_id is None and name in rows:
        _check_untested(slot)
    if dependencies is None:
        kept = row.dependencies if tested else stated.dependencies
        dependencies = slot.dependencies if kept is None else kept
    if tested and row.dependencies != dict(dependencies):
        raise AlreadyTested(f"module {name} {label} is {row.state}: its dependencies cannot change, it was tested so")
    compatibility.check_graph(rows, name, dependencies)
    if name not in rows:
        slot.save()
    row.module = slot
    if row.code_id not in (None, artefact.digest):
        raise ModuleRefused(f"module {name} {label} must be one content, another one has the same label")
    if row.code is None:  # who registered it first stays: the events tell of everybody
        row.version, row.path, row.code, row.registered_by = stated.version, artefact.path, _kept(artefact), actor
    row.dependencies = dict(dependencies)
    state = row.state if tested else ModuleState.UNLOADED
    move(slot, row, ModuleState(state), actor=actor, kind="module.registered")
    return row


def _check_untested(slot: Module) -> None:
    untested = slot.versions.filter(state=ModuleState.UNLOADED, loaded_at=None).count()
    if untested >= bounds.UNTESTED:
        raise ModuleRefused(
            f"module {slot.name} may have {bounds.UNTESTED} versions that were never tested, and has them: test one"
        )


def _kept(artefact: SourceCode) -> ModuleCode:
    code, _ = ModuleCode.objects.get_or_create(
        digest=artefact.digest,
        defaults={
            "path": artefact.path,
            "files": sources.packed(artefact.files),
            "size_bytes": artefact.size_bytes,
        },
    )
    return code


def _take(slot: Module, row: ModuleVersion, *, actor: str) -> None:
    """Fill an empty slot."""
    before = row.state
    fill_slot(slot, row, previous=None)
    data = {"before": before, "after": ModuleState.ACTIVE, "version": row.version, "label": row.label, "actor": actor}
    changed(slot, "module.state_changed", {**data, "error": ""}, also=RELOAD)


def _last_usable(slot: Module, row: ModuleVersion) -> bool:
    """Whether nothing that others could use would be left in the slot."""
    others = slot.versions.filter(state__in=USABLE).exclude(pk=row.pk)
    return row.state == ModuleState.ACTIVE or not others.exists()


def _refuse_open(slot: Module) -> None:
    running = slot.swaps.filter(state__in=OPEN_SWAPS).first()
    if running is not None:
        raise ModuleRefused(f"module {slot.name} is being swapped by {running.actor}: wait until that has ended")


def _is_way_back(slot: Module, row: ModuleVersion) -> bool:
    """Whether a roll-back, by a person or by the watch, would bring this version: nobody else moves it."""
    return slot.previous_id == row.pk and row.state in USABLE


def _finish(row: ModuleVersion, state: ModuleState, *, actor: str, error: str = "") -> ModuleVersion:
    """End a loading, if there was one, unless somebody changed the version while its code was imported."""
    if row.state != ModuleState.LOADING:
        return row
    with MODULES.alone():
        slot = named(slots(), row.module.name)
        current = ModuleVersion.objects.select_related("module").get(pk=row.pk)
        if (current.state, current.updated_at) != (ModuleState.LOADING, row.updated_at):
            raise ModuleRefused(f"module {slot.name} was changed while it was being loaded; load it again")
        move(slot, current, state, actor=actor, error=error)
    return current
