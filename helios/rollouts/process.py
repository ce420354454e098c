"""The rollouts under way as one process holds them: a cycle that starts asks no table who serves."""

from __future__ import annotations

from dataclasses import dataclass

from helios.control import generations, snapshot
from helios.rollouts.core.machine import SERVING
from helios.rollouts.models import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(snapshot.Snapshot):
    """The rollouts that serve at one generation, the oldest first."""

    serving: tuple[Rollout, ...] = ()


def _load() -> Snapshot:
    state = generations.read()["rollouts"]  # before the rows: too old after a change in between, never too new
    rows = Rollout.objects.filter(state__in=sorted(SERVING)).order_by("id")
    return Snapshot(state=state, serving=tuple(rows))


_store = snapshot.Store("rollouts", Snapshot(), _load)
refresh_if_behind = _store.refresh_if_behind
forget = _store.forget


def serving() -> tuple[Rollout, ...]:
    """The rollouts that serve, as of the last refresh; the first call reads them."""
    return _store.snapshot().serving
