"""Every move of a rollout: row, history and event in one transaction, under the row's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from helios.control import change
from helios.control.change import Subject, check_version, locked
from helios.rollouts.core.assignment import Mode
from helios.rollouts.core.machine import LIVE, Cause, Progress, State
from helios.rollouts.errors import RolloutRefused, UnknownRollout
from helios.rollouts.models import Rollout, RolloutEvent
from helios.rollouts.selectors import step_of

Move = Callable[[Progress], Progress]

_SEVERITY: Final = {"paused": "warning", "aborted": "warning", "rolled_back": "critical"}
CLAIMS: Final = "helios.rollouts"  # the space of the locks of those who measure or promote a rollout
_MOVED: Final = (  # columns that a move writes; what is compared anew may have another champion, too
    *("state", "step", "cause", "n_inconclusive", "n_errors", "reason", "version"),
    *("started_at", "measured_since", "next_analysis_at", "ended_at", "updated_at"),
)
SYSTEM: Final = "rollouts"  # the actor of what nobody asked for
ROLLOUTS: Final = Subject(name="rollouts", refused=RolloutRefused)


class By(change.By, total=False):
    """The same, and when; without it, now."""

    now: datetime | None


def move(
    rollout_id: int,
    transition: Move,
    update: Callable[[Rollout], bool] | None = None,
    *,
    actor: str,
    reason: str = "",
    version: int | None = None,
    now: datetime | None = None,
) -> Rollout:
    """Lock, move, write. Raises what `transition` raises, and `Conflict` when the rollout is at another `version`.

    `update` may change fields of the locked row; it says whether measuring begins anew.
    """
    with ROLLOUTS.changing(actor=actor, reason=reason):
        row = locked_row(rollout_id)
        check_version(row, version, row.history.all())
        after = transition(progress(row))
        anew = update(row) if update else False
        write(row, after, actor=actor, now=now or timezone.now(), reason=reason, anew=anew)
    return row


@contextmanager
def unmoved(seen: Rollout) -> Iterator[Rollout | None]:
    """The row in a transaction of the system's own; None where somebody has moved it since it was read."""
    with ROLLOUTS.alone():
        row = locked_row(seen.pk)
        yield row if row.version == seen.version else None


def locked_row(rollout_id: int) -> Rollout:
    """The row, held until the transaction ends."""
    unknown = UnknownRollout(f"a rollout must exist, number {rollout_id} does not")
    return locked(Rollout.objects.filter(pk=rollout_id), lambda: unknown)


def progress(row: Rollout) -> Progress:
    """The row as the machine sees it."""
    return Progress(
        state=State(row.state),
        step=row.step,
        n_steps=len(row.steps),
        n_inconclusive=row.n_inconclusive,
        n_errors=row.n_errors,
        cause=Cause(row.cause),
        inconclusive_limit=row.inconclusive_limit,
        error_limit=row.error_limit,
    )


def state(row: Rollout) -> dict[str, Any]:
    """What history keeps of a rollout before and after a move."""
    return {
        "state": row.state,
        "step": row.step,
        "serves": step_of(row).serves,
        "cause": row.cause,
        "champion": row.champion,
        "challenger": row.challenger,
        "version": row.version,
    }


def write(row: Rollout, after: Progress, *, actor: str, now: datetime, reason: str = "", anew: bool = False) -> None:
    """Write where the locked row stands now; a change of state or step leaves history and an event."""
    before, was = state(row), progress(row)
    action = action_of(was, after)
    row.state, row.step, row.cause = after.state.value, after.step, after.cause.value
    row.n_inconclusive, row.n_errors = after.n_inconclusive, after.n_errors
    _times(row, was, now, anew=anew)
    if action:
        row.version += 1
        row.reason = reason or f"{action.replace('_', ' ')} by {actor}"
        if after.state is State.RUNNING:
            row.reason = ""
    row.save(update_fields=[*_MOVED, *["champion"] * anew])
    if action:
        log_history(row, action, before, actor=actor, reason=reason, now=now)


def log_history(
    row: Rollout, action: str, before: dict[str, Any] | None, *, actor: str, reason: str, now: datetime
) -> None:
    """Append to the history and to the events; every process may have to look again."""
    ROLLOUTS.moved()
    after = state(row)
    entry = {"actor": actor, "reason": reason, "before": before, "after": after}
    RolloutEvent.objects.create(rollout=row, at=now, action=action, **entry)
    data = {"rollout": row.pk, "kind": row.kind, "target": row.target, **entry}
    ROLLOUTS.record(f"rollout.{action}", row.name, data, severity=_SEVERITY.get(action, "info"))


def action_of(before: Progress, after: Progress) -> str:
    """What a move is called in the history; empty when neither state nor step changed."""
    if after.state is State.RUNNING:
        if before.state is State.PENDING:
            return "started"
        if after.step != before.step:
            return "stepped"
        return "resumed" if before.state is State.PAUSED else ""
    return "" if after.state is before.state else after.state.value.lower()


def _times(row: Rollout, was: Progress, now: datetime, *, anew: bool) -> None:
    """When measuring began, when the next analysis is due, when it ended."""
    began = was.state is State.PENDING and row.state == State.RUNNING
    if began:
        row.started_at = now
    fresh = began or anew or row.step != was.step
    if fresh:
        row.measured_since = now
    first = fresh or was.state is State.PAUSED
    row.next_analysis_at = _due(row, now, first=first) if row.state == State.RUNNING else None
    if row.state not in LIVE:
        row.ended_at = now


def _due(row: Rollout, now: datetime, *, first: bool) -> datetime:
    step = step_of(row)
    if step.kind is Mode.REPLAY and first:
        return now
    return now + timedelta(seconds=step.interval_s)
