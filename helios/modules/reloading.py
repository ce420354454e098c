"""Hot reload: files that changed under a module in use become its next version, or a reason why not.

One process looks, every few seconds (`modules.watch_files`). What changed is registered, tested and swapped like any
version. A content that was refused, or that a person swapped, rolled back or activated away from, is not tried again:
the next one is.
"""

from __future__ import annotations

from typing import Final

from loguru import logger

from helios import flags
from helios.db.failures import UNAVAILABLE
from helios.errors import HeliosError, error_text, plain
from helios.modules import loading, services, sources, swapping
from helios.modules.errors import SwapRunning
from helios.modules.models import Module, ModuleState, ModuleSwap, ModuleVersion, SwapState
from helios.modules.rows import MODULES, RELOAD, changed, named, slots

FLAG: Final = "hot_reload_modules"
ACTOR: Final = "hot reload"
WAITS: Final = f"a changed version waits for an explicit swap: the flag {FLAG} is off"
log = logger.bind(component="modules")

_seen: dict[str, tuple[object, str]] = {}  # by path: the files as they looked, and the hash of their content


def watch_files() -> dict[str, str]:
    """Look at the files of every hot-reloadable module in use; returns what was done, by slot."""
    flags.refresh_if_behind()
    swapping.recover()
    watched = Module.objects.select_related("active").filter(hot_reloadable=True).exclude(active=None)
    done: dict[str, str] = {}
    for key in list(watched.values_list("pk", flat=True)):
        slot = watched.filter(pk=key).first()  # as it is now: the swap of another slot may have taken a minute
        if slot is None:
            continue
        try:
            what = _look(slot)
        except UNAVAILABLE:
            raise
        except Exception as error:  # noqa: BLE001 - one slot's trouble keeps nobody from the files of the others
            log.bind(module=slot.name).opt(exception=plain(error)).error("modules.not_looked_at")
        else:
            done |= {slot.name: what} if what else {}
    return done


def _look(slot: Module) -> str:
    assert slot.active is not None  # noqa: S101 - asked for like that
    try:
        digest = _digest(slot.active.path)
    except HeliosError as error:  # what is not to be tried again is not forgotten for it
        return "" if slot.reload_digest else _refused(slot, "", error_text(error))
    except OSError as error:  # a file that went away between two looks
        log.bind(module=slot.name, error=error_text(error)).info("modules.files_moving")
        return ""
    if digest == slot.active.digest:
        return _settled(slot)
    waits = slot.reload_error == WAITS and flags.is_enabled(FLAG)
    if digest == slot.reload_digest and not waits:
        return ""
    why = _why_not(slot, digest)
    return _refused(slot, digest, why) if why else _reload(slot, slot.active.path, digest)


def _digest(path: str) -> str:
    """The hash of what lies on disk; read again only when a file's size or time has changed."""
    looks = sources.fingerprint(path)
    known = _seen.get(path)
    if known is None or known[0] != looks:
        known = _seen[path] = (looks, sources.read(path, loading.allowed_packages()).digest)
    return known[1]


def _why_not(slot: Module, digest: str) -> str:
    """Why this content is not to be tried; empty when it is."""
    if slot.reload_digest == swapping.NEXT_FOUND:
        return _earlier(slot, digest) or f"it lay there when {slot.active} was chosen: swap to it, or change the files"
    return _earlier(slot, digest) if flags.is_enabled(FLAG) else WAITS


def _earlier(slot: Module, digest: str) -> str:
    """Why this content is not to be tried again; empty when it may be."""
    last = ModuleSwap.objects.filter(module=slot, to_version__code=digest).order_by("-id").first()
    if last is not None and last.state in (SwapState.FAILED, SwapState.ROLLED_BACK):
        return f"this content was {last.get_state_display()} before: {last.error}"
    failed = ModuleVersion.objects.filter(module=slot, code=digest, state=ModuleState.FAILED).first()
    return failed.error if failed is not None else ""


def _reload(slot: Module, path: str, digest: str) -> str:
    try:
        version = services.register(slot.name, path, actor=ACTOR)
        services.swap(slot.name, version.label, actor=ACTOR, reason="its files changed")
    except SwapRunning:
        return ""  # looked at again when that one has ended
    except HeliosError as error:
        return _refused(slot, digest, error_text(error))
    _settle(slot.name, "", "")
    return f"swapped to {version.label}"


def _refused(slot: Module, digest: str, why: str) -> str:
    if (slot.reload_digest, slot.reload_error) == (digest, why):
        return ""
    _settle(slot.name, digest, why)
    return why


def _settled(slot: Module) -> str:
    """What lies on disk is in use: an earlier refusal is history, and what changes from now on is a change."""
    if slot.reload_error:
        _settle(slot.name, "", "")
    elif slot.reload_digest:
        same = Module.objects.filter(pk=slot.pk, generation=slot.generation)
        same.update(reload_digest="")
    return ""


def _settle(name: str, digest: str, why: str) -> None:
    with MODULES.alone():
        slot = named(slots(), name)
        slot.reload_digest, slot.reload_error = digest, why
        kind = "module.reload_waits" if why == WAITS else "module.reload_refused" if why else "module.reload_settled"
        severity = "warning" if why and why != WAITS else "info"
        changed(slot, kind, {"digest": digest[:12], "error": why}, severity=severity, also=RELOAD)
