"""What a rollout delivers into: a module's slot, or the strategy of a book, which a floor above knows.

`helios` cannot import strategies. Two settings name the functions that do:

    ROLLOUT_STRATEGIES(target, challenger, params) -> the label of the strategy that serves now; raises `Rejected`
    ROLLOUT_PROMOTE_STRATEGY(target, challenger, params, *, actor, reason); does nothing when it is so already
"""

from __future__ import annotations

from typing import Any

from helios.errors import Transient
from helios.modules import changing
from helios.modules import services as modules
from helios.modules.errors import SwapRunning
from helios.modules.models import Module
from helios.rollouts.changes import SYSTEM
from helios.rollouts.core import Kind
from helios.rollouts.errors import RolloutRefused
from helios.rollouts.models import Rollout
from helios.rollouts.providers import named


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


def champion(row: Rollout) -> str:
    """The label of what stands in the rollout's place now; empty when nothing does."""
    if row.kind == Kind.MODULE:
        slot = Module.objects.filter(name=row.target).select_related("active").first()
        return slot.active.label if slot and slot.active else ""
    return str(named("ROLLOUT_STRATEGIES")(row.target, row.challenger, row.params))


def in_place(row: Rollout) -> bool:
    """Whether the challenger stands in the champion's place already; known of modules only."""
    return row.kind == Kind.MODULE and champion(row) == row.challenger


def promote(row: Rollout) -> None:
    """Put the challenger in the champion's place; it may take long, and does nothing when that was done already.

    Raises `Transient` where it is to be tried again by itself, anything else where a person has to look.
    """
    reason = f"rollout {row.name} reached its end"
    if row.kind == Kind.MODULE:
        if not in_place(row):
            _swap(row, reason)
        return
    named("ROLLOUT_PROMOTE_STRATEGY")(row.target, row.challenger, row.params, actor=SYSTEM, reason=reason)


def _swap(row: Rollout, reason: str) -> None:
    try:
        modules.swap(row.target, row.challenger, actor=SYSTEM, reason=reason)
    except SwapRunning as error:
        raise Transient(str(error)) from error


def _check_module(target: str, challenger: str) -> tuple[str, str]:
    slot = changing.slot(target)
    if slot.active is None:
        raise RolloutRefused(f"module {target} must have an active version to be challenged, has none")
    if not challenger:
        raise RolloutRefused(f"challenger must be a version of {target}, was empty")
    version = changing.version_of(slot, challenger)
    if version.pk == slot.active.pk:
        raise RolloutRefused(f"a challenger must differ from the champion, {version.label} serves {target} already")
    if version.error:
        raise RolloutRefused(f"challenger {version.label} must be loadable, failed: {version.error}")
    return slot.active.label, version.label
