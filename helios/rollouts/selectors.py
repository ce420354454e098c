"""Reading rollouts: who serves what now."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import Q

from helios.modules.models import ModuleVersion
from helios.modules.rows import USABLE
from helios.rollouts import process
from helios.rollouts.core.assignment import Assignment, Kind, Mode, arm_symbols
from helios.rollouts.core.machine import LIVE, SERVING
from helios.rollouts.core.rollout_plan import Step, parse_steps
from helios.rollouts.errors import SeveralRollouts, UnknownRollout
from helios.rollouts.models import Rollout, RolloutDecision

LATEST: Final = 2_000  # decisions looked at for the names of symbols


def assignments(symbols: Iterable[str], *, book: str) -> tuple[Assignment, ...]:
    """What the rollouts that this process holds ask of a cycle of `book` over `symbols`; asked once, when it starts.

    A rollout at its replay step asks nothing of a cycle, nor does one whose challenger was unloaded or failed since.
    """
    universe = tuple(symbols)
    rows = [
        row
        for row in process.serving()
        if (not row.books or book in row.books) and step_of(row).kind is not Mode.REPLAY
    ]
    usable = {(version.module.name, version.label) for version in _usable(rows)}
    return tuple(
        assignment(row, universe) for row in rows if row.kind != Kind.MODULE or (row.target, row.challenger) in usable
    )


def assignment(row: Rollout, universe: tuple[str, ...]) -> Assignment:
    """The assignment of a rollout at its present step; shadow takes all symbols, live the sticky share."""
    step = step_of(row)
    live = step.kind is Mode.LIVE
    return Assignment(
        rollout_id=row.pk,
        name=row.name,
        kind=row.kind,
        target=row.target,
        champion=row.champion,
        challenger=row.challenger,
        params=row.params,
        mode=step.kind.value,
        step=row.step,
        percentage=step.percentage,
        symbols=arm_symbols(row.name, universe, step.percentage) if live else universe,
    )


def challengers() -> list[ModuleVersion]:
    """The versions that rollouts under way have cycles ask for: each worker loads them ahead of its first cycle."""
    return _usable(Rollout.objects.filter(state__in=sorted(SERVING), kind=Kind.MODULE))


def _usable(rows: Iterable[Rollout]) -> list[ModuleVersion]:
    """The challenging versions of rollouts, but for those that are out of use."""
    asked = [Q(module__name=row.target, label=row.challenger) for row in rows if row.kind == Kind.MODULE]
    versions = ModuleVersion.objects.select_related("module").filter(state__in=USABLE)
    return list(versions.filter(reduce(or_, asked))) if asked else []


def steps_of(row: Rollout) -> tuple[Step, ...]:
    """The plan of a stored rollout."""
    return parse_steps(row.steps)


def step_of(row: Rollout) -> Step:
    """The step at which a rollout stands."""
    return steps_of(row)[row.step]


def get(which: int | str, *, only: bool = False) -> Rollout:
    """A rollout by number, or by name: the live one of that name, else the latest. Raises `UnknownRollout`.

    `only`: raises `SeveralRollouts` for a name that was planned more than once: between a look and a decision one may
    be ended and another planned under its name.
    """
    if isinstance(which, int):
        found = Rollout.objects.filter(pk=which).first()
    else:
        named = Rollout.objects.filter(name=which).order_by("-id")
        if only and named.count() > 1:
            numbers = ", ".join(str(each.pk) for each in named[:10])
            raise SeveralRollouts(f"a rollout that was planned more than once must be named by its number: {numbers}")
        found = named.filter(state__in=sorted(LIVE)).first() or named.first()
    if found is None:
        raise UnknownRollout(f"a rollout must exist, {which!r} does not")
    return found


def seen_symbols(row: Rollout) -> tuple[str, ...]:
    """The symbols that the last cycles decided on for this rollout, sorted."""
    latest = RolloutDecision.objects.filter(rollout=row).order_by("-cycle_id").values_list("symbol", flat=True)
    return tuple(sorted(set(latest[:LATEST])))
