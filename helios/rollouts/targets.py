"""What a rollout delivers into: a module's slot, or the strategy of a book, which a floor above knows.

`helios` cannot import strategies. Two settings name the functions that do:

    ROLLOUT_STRATEGIES(target, challenger, params) -> the label of the strategy that serves now; raises `Rejected`
    ROLLOUT_PROMOTE_STRATEGY(target, challenger, params, *, actor, reason); does nothing when it is so already
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from helios.errors import Transient
from helios.modules import compatibility
from helios.modules import services as modules
from helios.modules.errors import SwapRunning
from helios.modules.models import Module, ModuleSwap, ModuleVersion, SwapState
from helios.modules.rows import USABLE, find, version_of
from helios.rollouts.core.assignment import Kind
from helios.rollouts.errors import RolloutRefused
from helios.rollouts.models import Rollout
from helios.rollouts.providers import named
from helios.rollouts.rows import SYSTEM

_TAKEN_BACK: Final = ModuleSwap.objects.filter(actor=SYSTEM, state=SwapState.ROLLED_BACK, watch_failed__gt=0)


def check(kind: str, target: str, challenger: str, params: dict[str, Any]) -> tuple[str, str]:
    """The labels of champion and challenger.

    Raises `RolloutRefused`, or what a floor above raises, with one sentence where the target, the challenger or
    the place it wants does not exist.
    """
    if kind == Kind.MODULE:
        if params:
            raise RolloutRefused("a module takes no params, some were given")
        return _check_module(target, challenger)
    champion = str(named("ROLLOUT_STRATEGIES")(target, challenger, params))
    return champion, challenger


def check_ready(row: Rollout) -> None:
    """Raises `RolloutRefused` while the challenger's code has not been imported in a process of its own.

    From its first step on it is loaded into workers: code that leaves or loops at import must not come so far.
    """
    if why := unready(row):
        raise RolloutRefused(why)


def unready(row: Rollout) -> str:
    """The same as a sentence; empty while the challenger may be asked."""
    if row.kind != Kind.MODULE:
        return ""
    version = version_of(find(row.target), row.challenger)
    if version.state in USABLE:
        return ""
    return f"challenger {version.label} must be LOADED before it meets a worker, was {version.state}: load it"


def champion(row: Rollout) -> str:
    """The label of what stands in the rollout's place now; empty when nothing does."""
    if row.kind == Kind.MODULE:
        slot = Module.objects.filter(name=row.target).select_related("active").first()
        return slot.active.label if slot and slot.active else ""
    return str(named("ROLLOUT_STRATEGIES")(row.target, row.challenger, row.params))


def in_place(row: Rollout) -> bool:
    """Whether the challenger stands in the champion's place already; known of modules only."""
    return row.kind == Kind.MODULE and champion(row) == row.challenger


def taken_back(row: Rollout) -> str:
    """Why the module that this rollout put in place was taken back by its watch; empty where it was not."""
    if row.kind != Kind.MODULE or Rollout.objects.filter(name=row.name, target=row.target, pk__gt=row.pk).exists():
        return ""  # a later rollout of the same words has swaps that look the same
    swap = _TAKEN_BACK.filter(
        module__name=row.target,
        to_version__label=row.challenger,
        reason=_reason(row),
        started_at__gte=row.started_at,
    ).first()
    return swap.error if swap is not None else ""


def labels_taken_back(*, since: datetime) -> list[str]:
    """The labels of promoted modules that their watches took back since a moment; most often none."""
    return list(_TAKEN_BACK.filter(finished_at__gte=since).values_list("to_version__label", flat=True))


def promote(row: Rollout) -> None:
    """Put the challenger in the champion's place; it may take long, and does nothing when that was done already.

    Raises `Transient` where it is to be tried again by itself, anything else where a person has to look: also where
    it was done and the module's watch took it back, and where somebody put a third version in the place.
    """
    if row.kind == Kind.MODULE:
        if not in_place(row):
            _refuse_moved(row)
            check_ready(row)
            _swap(row, _reason(row))
        return
    reason = _reason(row)
    named("ROLLOUT_PROMOTE_STRATEGY")(row.target, row.challenger, row.params, actor=SYSTEM, reason=reason)


def _reason(row: Rollout) -> str:
    return f"rollout {row.name} reached its end"


def _refuse_moved(row: Rollout) -> None:
    if failure := taken_back(row):
        raise RolloutRefused(f"{row.challenger} was put in place and taken back by its watch: {failure}")
    if (current := champion(row)) != row.champion:
        raise RolloutRefused(f"{row.target} must still be served by {row.champion}, is now by {current or 'nothing'}")


def _swap(row: Rollout, reason: str) -> None:
    try:
        modules.swap(row.target, row.challenger, actor=SYSTEM, reason=reason)
    except SwapRunning as error:
        raise Transient(str(error)) from error


def _check_module(target: str, challenger: str) -> tuple[str, str]:
    slot = find(target)
    if slot.active is None:
        raise RolloutRefused(f"module {target} must have an active version to be challenged, has none")
    if not challenger:
        raise RolloutRefused(f"challenger must be a version of {target}, was empty")
    version = version_of(slot, challenger)
    if version.pk == slot.active.pk:
        raise RolloutRefused(f"a challenger must differ from the champion, {version.label} serves {target} already")
    if version.error:
        raise RolloutRefused(f"challenger {version.label} must be loadable, failed: {version.error}")
    _check_place(slot, version)
    return slot.active.label, version.label


def _check_place(slot: Module, version: ModuleVersion) -> None:
    """What the swap at the end asks is asked at the beginning too: the challenger serves symbols long before that."""
    if not slot.hot_reloadable:
        raise RolloutRefused(f"module {slot.name} must be hot-reloadable to be challenged, it is not")
    compatibility.check_switch(version, {row.name: row for row in Module.objects.select_related("active")})
