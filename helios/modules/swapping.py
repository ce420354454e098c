"""Swaps: another version takes a slot in all processes at once, between two tasks, or nowhere.

check the versions -> run the gate tests in a process of their own -> every live process loads the code beside what
runs and says so -> one transaction switches. Each process follows at the start of its next task, by generation;
running tasks and running cycles keep what they have. The first real calls are watched, and a failure switches back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from helios.control import news
from helios.errors import error_text
from helios.modules import compatibility, loading, presence
from helios.modules.core.dependencies import check_path
from helios.modules.errors import InUse, ModuleRefused, SwapFailed, SwapRunning
from helios.modules.gate import runs
from helios.modules.lease import LEASE_S, Lease
from helios.modules.models import (
    OPEN_SWAPS,
    JobState,
    Module,
    ModuleJob,
    ModuleState,
    ModuleSwap,
    ModuleVersion,
    SwapState,
)
from helios.modules.rows import MODULES, RELOAD, STATE, USABLE, changed, named, passed, slots, version_of

PREPARE_S: Final = 60.0  # a living process that has not answered by then holds the swap up
POLL_S: Final = 0.05
NEXT_FOUND: Final = "next found"  # as a slot's reload_digest: whatever lies on the disk at the next look

Progress = Callable[[str], None]


def swap(
    name: str,
    version: str,
    *,
    actor: str,
    reason: str = "",
    suites: Sequence[str] = (),
    progress: Progress | None = None,
) -> ModuleSwap:
    """Put `version` (as `rows.version_of` reads it) into the slot; returns when all have it.

    `suites` are run besides those that gate the slot.
    Raises `UnknownModule`; `ModuleRefused` where versions do not fit, with nothing changed; `SwapRunning` while
    another swap of the slot runs; `SwapFailed` where a test fails or a process cannot load the code: the swap's row
    and the event keep the reason, and every process goes on with what it had.
    """
    recover()
    return carry_out(begin(name, version, actor=actor, reason=reason), suites, progress=progress)


def carry_out(row: ModuleSwap, suites: Sequence[str] = (), *, progress: Progress | None = None) -> ModuleSwap:
    """The steps of a swap that `begin` made, up to the switch; raises as `swap` does."""
    tell = progress or (lambda _: None)
    name, to = row.module.name, row.to_version
    try:
        with Lease(row.pk):
            _step(row, SwapState.TESTING)
            tell(f"{name} {to.label}: versions fit; running its tests in a process of its own")
            _require(runs.passes(to, suites, actor=row.actor), f"module {name} {to.label} did not pass its tests")
            passed(to, actor=row.actor)
            _step(row, SwapState.PREPARING)
            tell(f"{name} {to.label}: tests passed; loading it beside, in every process")
            row.processes = _prepared(row, tell)
            tell(f"{name} {to.label}: ready in {row.processes} processes; switching")
            _switch(row)
    except BaseException as error:
        _fail(row, error)
        raise
    tell(f"{name} {to.label}: in use from the next task on; its first {row.watch_calls} calls are watched")
    return row


def rollback(name: str, used: str = "", *, actor: str, reason: str = "") -> ModuleSwap:
    """Put the version before back, into an emptied slot too, at once: it was in use, so it is not tested again.

    It waits for no swap of the slot: one under way or asked for is ended. `used`: the label that is to leave the slot,
    whatever that is by default. Raises `InUse` where another one is in the slot, `ModuleRefused` where there is no
    version before, where it was refused since, or does not fit what else is in use.
    """
    with MODULES.changing(actor=actor, reason=reason):
        rows = slots()
        slot = named(rows, name)
        current = slot.active.label if slot.active is not None else "nothing"
        if used not in ("", current):
            raise InUse(f"module {name} must be in use as {used} to be rolled back from it, is as {current}")
        row = _back(slot, rows, actor=actor, error=reason or f"rolled back by {actor}", failed=False)
        _end_open(slot, f"module {name} was rolled back by {actor} meanwhile")
    return row


def watched(swap_id: int, *, seen: int, failed: int, error: str) -> str:
    """Add calls to a watched switch; past its limit of failures it is undone. The slot's name if it was, else empty."""
    with MODULES.alone():
        rows = slots()
        row = ModuleSwap.objects.select_related("module", "to_version").filter(pk=swap_id).first()
        if row is None:
            return ""
        row.watch_seen, row.watch_failed = row.watch_seen + seen, row.watch_failed + failed
        row.save(update_fields=["watch_seen", "watch_failed"])
        slot = rows[row.module.name]
        if slot.watch_id != row.pk:
            return ""
        if row.watch_failed >= slot.watch_failures:
            return _undo(slot, rows, row, error)
        if row.watch_seen >= row.watch_calls:
            _complete(slot, row)
    return ""


def recover() -> list[str]:
    """Fail the swaps whose owners died, and forget the processes that did; returns the slots that were freed.

    A process that died in a watched call is a failed call: nobody else is left to count it.
    """
    for swap_id, process in presence.died_calling():
        watched(swap_id, seen=1, failed=1, error=f"process {process} died in a watched call")
    presence.clean()
    freed = []
    with MODULES.alone():
        for slot in slots().values():
            freed += [slot.name] if _fail_dead(slot) else []
    return freed


# --- begin ---


def begin(name: str, version: str, *, actor: str, reason: str) -> ModuleSwap:
    """The row of a swap that keeps every other one out; after `recover`, which a refusal must not take back."""
    with MODULES.changing(actor=actor, reason=reason):
        rows = slots()
        to = swappable(rows, name, version)
        slot = rows[name]
        return ModuleSwap.objects.create(
            module=slot,
            from_version=slot.active,
            to_version=to,
            actor=actor,
            reason=reason,
            owner=presence.owner(),
            expires_at=Now() + timedelta(seconds=LEASE_S),
            watch_calls=slot.watch_calls,
        )


def swappable(rows: Mapping[str, Module], name: str, version: str) -> ModuleVersion:
    """The version, if the slot may be swapped to it now; raises as `swap` does."""
    slot = named(rows, name)
    _refuse_open(slot)
    to = version_of(slot, version)
    if slot.active_id == to.pk:
        raise ModuleRefused(f"module {name} {to.label} is in use already")
    if slot.active is not None and not slot.hot_reloadable:
        raise ModuleRefused(
            f"module {name} may not be swapped while the pipeline runs: unload it, then activate {to.label}"
        )
    check_path(to.path, loading.allowed_packages())
    compatibility.check_switch(to, rows)
    return to


def _refuse_open(slot: Module) -> None:
    running = slot.swaps.filter(state__in=OPEN_SWAPS).select_related("to_version").first()
    if running is not None:
        raise SwapRunning(
            f"module {slot.name} is being swapped to {running.to_version.label} by {running.actor} since "
            f"{running.started_at:%Y-%m-%d %H:%M:%S} UTC ({running.get_state_display()}): wait until that has ended"
        )


def _end_open(slot: Module, why: str) -> None:
    """End the slot's swap that is under way, whose owner finds that at its next step, and the one without a row yet."""
    for running in slot.swaps.filter(state__in=OPEN_SWAPS).select_related("module", "to_version"):
        _end_failed(running, why)
    without_row = slot.jobs.filter(kind=ModuleJob.Kind.SWAP, finished_at=None, swap=None)
    without_row.update(state=JobState.FAILED, detail=why, finished_at=Now())


def _fail_dead(slot: Module) -> bool:
    """End the slot's open swap when its owner is no process any more, or has not renewed its lease."""
    running = slot.swaps.filter(state__in=OPEN_SWAPS).first()
    if running is None:
        return False
    silent = ModuleSwap.objects.filter(pk=running.pk, expires_at__lt=Now()).exists()  # by the clock of all owners
    if not silent and not presence.owner_gone(running.owner):
        return False
    _end_failed(running, f"its owner {running.owner} died while it was {running.get_state_display()}")
    return True


# --- on the way ---


def _step(row: ModuleSwap, state: SwapState) -> None:
    """Go to the next step, unless the swap was taken from its owner meanwhile."""
    with transaction.atomic():
        moved = ModuleSwap.objects.filter(pk=row.pk, state=row.state).update(state=state)
        if moved != 1:
            raise _ended(row)
        row.state = state
        transaction.on_commit(lambda: news.announce(settings.REDIS_URL, "modules", str(row)), robust=True)


def _ended(row: ModuleSwap) -> SwapFailed:
    """What its owner raises once somebody else has ended it."""
    found = ModuleSwap.objects.get(pk=row.pk)
    return SwapFailed(f"swap {row.pk} must be {row.state} to go on, is {found.get_state_display()}: {found.error}")


def _require(problem: str, what: str) -> None:
    if problem:
        raise SwapFailed(f"{what}: {problem}")


def _prepared(row: ModuleSwap, tell: Progress) -> int:
    """Wait until every live process has loaded the version beside; returns how many there are."""
    deadline, ready_before = time.monotonic() + PREPARE_S, -1
    while True:
        answers = {process: process.prepared.get(str(row.pk)) for process in presence.live(answers=True)}
        for process, answer in answers.items():
            _require(answer or "", f"{process} could not load {row.to_version}")
        for lost in presence.lost_while_loading(row.pk):
            raise SwapFailed(f"{lost} ended or fell silent while it loaded {row.to_version}")
        if not (silent := [str(process) for process, answer in answers.items() if answer is None]):
            return len(answers)
        ready = len(answers) - len(silent)
        if ready != ready_before:
            tell(f"ready in {ready} of {len(answers)} processes")
            ready_before = ready
        if not ModuleSwap.objects.filter(pk=row.pk, state=row.state).exists():
            raise _ended(row)
        if time.monotonic() > deadline:
            raise SwapFailed(f"{', '.join(silent)} must answer within {PREPARE_S:g} s, was alive and silent")
        time.sleep(POLL_S)


def _switch(row: ModuleSwap) -> None:
    """The one transaction in which the slot changes hands; everything is checked again under the lock."""
    with MODULES.alone():
        rows = slots()
        slot = rows[row.module.name]
        to = ModuleVersion.objects.select_related("module").get(pk=row.to_version_id)
        if slot.active_id != row.from_version_id:
            raise SwapFailed(f"module {slot.name} was changed by somebody else while it was being swapped")
        compatibility.check_switch(to, rows)
        moved = ModuleSwap.objects.filter(pk=row.pk, state=SwapState.PREPARING).update(
            state=SwapState.SWITCHED, switched_at=Now(), processes=row.processes
        )
        if moved != 1:
            raise _ended(row)
        row.refresh_from_db()
        if slot.watch is not None:  # its version leaves the slot for another one
            _finish(slot.watch, SwapState.COMPLETED)
        fill_slot(slot, to, previous=slot.active)
        slot.watch = row if row.watch_calls else None
        changed(slot, "module.swapped", _announced(row), also=RELOAD)
        if not row.watch_calls:
            _complete(slot, row)


def fill_slot(slot: Module, version: ModuleVersion | None, *, previous: ModuleVersion | None, failed: str = "") -> None:
    """Fill the slot with `version`; the one that leaves it is LOADED, or FAILED with the reason.

    Unless it failed, that is a choice: hot reload leaves what lies on the disk by then, and follows what changes later.
    """
    if slot.active is not None:
        leaving = slot.active
        leaving.state, leaving.error = (ModuleState.FAILED, failed) if failed else (ModuleState.LOADED, "")
        leaving.save(update_fields=STATE)
    if version is not None:
        version.state, version.error = ModuleState.ACTIVE, ""
        version.loaded_at = version.loaded_at or timezone.now()
        version.save(update_fields=STATE)
    slot.active, slot.previous, slot.watch = version, previous, None
    if not failed:
        slot.reload_digest, slot.reload_error = NEXT_FOUND, ""


def _complete(slot: Module, row: ModuleSwap) -> None:
    """The watched calls were good, or none are watched: nothing is left to do for this swap."""
    slot.watch = None
    _finish(row, SwapState.COMPLETED)
    changed(slot, "module.swap_completed", _announced(row))


# --- back ---


def _undo(slot: Module, rows: dict[str, Module], row: ModuleSwap, error: str) -> str:
    """Roll back by itself; where there is no version to go back to, that is told and the slot stays as it is."""
    try:
        with transaction.atomic():
            _back(slot, rows, actor="watch", error=error, failed=True)
    except ModuleRefused as refusal:
        slot.refresh_from_db()
        slot.watch = None
        _finish(row, SwapState.FAILED, f"{error}; it could not be rolled back: {refusal}")
        changed(slot, "module.rollback_refused", _announced(row) | {"refusal": str(refusal)}, severity="critical")
        return ""
    return slot.name


def _back(slot: Module, rows: dict[str, Module], *, actor: str, error: str, failed: bool) -> ModuleSwap:
    """Put the version before back. After a failure also one that does not fit what others need: it is known to work."""
    undone = slot.swaps.filter(to_version=slot.active_id, state__in=[SwapState.SWITCHED, SwapState.COMPLETED]).first()
    target, left = slot.previous, slot.active
    if target is None:
        raise ModuleRefused(f"module {slot.name} must have a version before the one in use to go back to, has none")
    if target.state not in USABLE:
        why = f": {target.error}" if target.error else ""
        raise ModuleRefused(
            f"module {slot.name} can go back to a LOADED version, {target.label} is {target.state}{why}"
        )
    check_path(target.path, loading.allowed_packages())
    unmet = ""
    try:
        compatibility.check_switch(target, rows)
    except ModuleRefused as misfit:
        if not failed:
            raise
        unmet = f"; {misfit}"
    fill_slot(slot, target, previous=None, failed=error if failed else "")
    if undone is not None:
        _finish(undone, SwapState.ROLLED_BACK, error)
    now = timezone.now()
    row = ModuleSwap.objects.create(
        module=slot,
        kind=ModuleSwap.Kind.ROLLBACK,
        from_version=left,
        to_version=target,
        state=SwapState.COMPLETED,
        actor=actor,
        reason=f"{error}{unmet}",
        owner=presence.owner(),
        expires_at=now,
        switched_at=now,
        finished_at=now,
    )
    also = () if failed else RELOAD
    changed(slot, "module.rolled_back", _announced(row), severity="critical" if failed else "warning", also=also)
    return row


# --- ends ---


def _fail(row: ModuleSwap, error: BaseException) -> None:
    """Write down why a swap ended before its switch. Its version is FAILED when it was at fault itself."""
    with MODULES.alone():
        current = ModuleSwap.objects.select_related("module", "to_version__module").get(pk=row.pk)
        if current.state in OPEN_SWAPS:
            _end_failed(current, error_text(error), at_fault=isinstance(error, SwapFailed))
    row.refresh_from_db()


def _end_failed(row: ModuleSwap, sentence: str, *, at_fault: bool = False) -> None:
    tested = at_fault and row.state == SwapState.TESTING
    _finish(row, SwapState.FAILED, sentence)
    version = row.to_version
    if tested and version.state != ModuleState.ACTIVE and row.module.previous_id != version.pk:  # that stays a way back
        version.state, version.error = ModuleState.FAILED, sentence
        version.save(update_fields=STATE)
    MODULES.record("module.swap_failed", row.module.name, _announced(row), severity="warning")


def _finish(row: ModuleSwap, state: SwapState, error: str = "") -> None:
    row.state, row.error, row.finished_at = state, error, timezone.now()
    row.save(update_fields=["state", "error", "finished_at"])


def _announced(row: ModuleSwap) -> dict[str, Any]:
    return {
        "swap": row.pk,
        "from": row.from_version.label if row.from_version is not None else "",
        "to": row.to_version.label,
        "state": row.state,
        "actor": row.actor,
        "reason": row.reason,
        "error": row.error,
    }
