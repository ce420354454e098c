"""What people do to a rollout. Each is one transaction with a history entry and an event, or nothing at all.

`advance`, `react` and `run_due` are what time does to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Unpack

from django.db import IntegrityError
from django.utils import timezone

from helios.db.locks import claimed
from helios.entries import entry
from helios.rollouts import rows, targets
from helios.rollouts.advancing import advance, react, run_due
from helios.rollouts.core import machine
from helios.rollouts.core.assignment import Kind
from helios.rollouts.core.guards import default_guards, parse_guards
from helios.rollouts.core.machine import LIVE, Cause, State
from helios.rollouts.core.rollout_plan import DEFAULT, parse_steps
from helios.rollouts.errors import RolloutRefused
from helios.rollouts.models import Rollout
from helios.rollouts.rows import CLAIMS, By

__all__ = [
    "abort",
    "advance",
    "create",
    "pause",
    "promote",
    "react",
    "resume",
    "run_due",
    "start",
]

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~-]{0,99}")
MAX_LIMIT: Final = 1_000
MAX_BOOK: Final = 100


def create(
    name: str,
    *,
    kind: str = Kind.MODULE.value,
    target: str,
    challenger: str,
    params: Mapping[str, Any] | None = None,
    books: Iterable[str] = (),
    steps: Any = None,
    guards: Any = None,
    inconclusive_limit: int = 3,
    error_limit: int = 3,
    description: str = "",
    actor: str,
    reason: str = "",
    now: datetime | None = None,
) -> Rollout:
    """Plan a delivery; PENDING until `start`. Steps and guards are JSON lists; None takes the defaults.

    Raises `RolloutRefused` with one sentence for a bad plan, a target or challenger that does not exist, and a
    name or target that a live rollout has.
    """
    _check_name(name)
    rows.ROLLOUTS.check(actor, reason)
    _check_limits(inconclusive_limit, error_limit)
    if kind not in tuple(Kind):
        raise RolloutRefused(f"kind must be {' or '.join(Kind)}, was {kind!r}")
    plan = DEFAULT if steps is None else parse_steps(steps)
    limits = default_guards(kind, target) if guards is None else parse_guards(guards)
    given = _params(params)
    champion, label = targets.check(kind, target, challenger, given)
    row = Rollout(
        name=name,
        kind=kind,
        target=target,
        champion=champion,
        challenger=label,
        params=given,
        books=_books(books),
        steps=[step.to_json() for step in plan],
        guards=[guard.to_json() for guard in limits],
        inconclusive_limit=inconclusive_limit,
        error_limit=error_limit,
        description=description,
        actor=actor,
    )
    return _insert(row, actor=actor, reason=reason, now=now or timezone.now())


def start(rollout_id: int, **by: Unpack[By]) -> Rollout:
    """Begin with the first step. The champion is read again: it is the one that serves now.

    A challenging module must be LOADED by now: from here on it runs in workers.
    """
    return rows.move(rollout_id, machine.start, _renew_champion, **by)


def pause(rollout_id: int, **by: Unpack[By]) -> Rollout:
    """Stay at this step with its share of symbols; hard guards go on watching."""
    return rows.move(rollout_id, machine.pause, **by)


def resume(rollout_id: int, **by: Unpack[By]) -> Rollout:
    """Go on with the step. After a soft guard or another champion measuring begins anew, else it goes on."""
    return rows.move(rollout_id, machine.resume, _resumed_anew, **by)


def promote(rollout_id: int, *, full: bool = False, **by: Unpack[By]) -> Rollout:
    """Take the next step without an analysis; with `full`, or at the last step, the challenger gets the place.

    Then the rollout is PROMOTING, and the swap itself is done by `run_due` within seconds.
    """
    return rows.move(rollout_id, lambda progress: machine.promote(progress, full=full), **by)


def abort(rollout_id: int, **by: Unpack[By]) -> Rollout:
    """End it: the champion serves every symbol from the next cycle on.

    While a process puts the challenger in place it is refused, and so it is once that was done.
    """
    with claimed(CLAIMS, rollout_id) as idle:
        return rows.move(rollout_id, lambda progress: machine.abort(progress, idle=idle), _refuse_promoted, **by)


def _insert(row: Rollout, *, actor: str, reason: str, now: datetime) -> Rollout:
    try:
        with rows.ROLLOUTS.changing(actor=actor, reason=reason):
            _check_free(row)
            row.save(force_insert=True)
            rows.log_history(row, "created", None, actor=actor, reason=reason, now=now)
    except IntegrityError as error:
        raise RolloutRefused(f"rollout {row.name} must be the only live one of its name and target, was not") from error
    return row


def _check_free(row: Rollout) -> None:
    live = Rollout.objects.filter(state__in=sorted(LIVE))
    if live.filter(name=row.name).exists():
        raise RolloutRefused(f"the name of a live rollout must be free, was taken: {row.name}")
    other = live.filter(kind=row.kind, target=row.target).first()
    if other is not None:
        raise RolloutRefused(f"{row.target} must have one live rollout at a time, has {other.name} ({other.state})")


def _refuse_promoted(row: Rollout) -> bool:
    if row.state == State.PROMOTING and targets.in_place(row):
        raise RolloutRefused(f"{row.challenger} serves {row.target} already: swap it back instead of aborting")
    return False


def _renew_champion(row: Rollout) -> bool:
    row.champion, _ = targets.check(row.kind, row.target, row.challenger, row.params)
    targets.check_ready(row)
    return True


def _resumed_anew(row: Rollout) -> bool:
    before, cause = row.champion, row.cause
    _renew_champion(row)
    return cause == Cause.SOFT_GUARD or row.champion != before


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise RolloutRefused(f"a rollout's name must be 1 to 100 letters, digits or _ . ~ -, was {name!r}")


def _check_limits(*limits: int) -> None:
    for limit in limits:
        if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
            raise RolloutRefused(f"a limit of analyses must be a whole number from 1 to {MAX_LIMIT}, was {limit!r}")


def _params(params: Mapping[str, Any] | None) -> dict[str, Any]:
    if params is not None and not isinstance(params, Mapping):
        raise RolloutRefused(f"params must be an object, was {params!r}")
    return dict(params or {})


def _books(books: Any) -> list[str]:
    names: list[Any] = list(books) if isinstance(books, Iterable) and not isinstance(books, str) else [None]
    if not all(isinstance(name, str) and 1 <= len(name) <= MAX_BOOK for name in names):
        raise RolloutRefused(f"books must be a list of names of 1 to {MAX_BOOK} letters, was {books!r}")
    try:
        return list(dict.fromkeys(map(entry, names)))
    except ValueError as error:
        raise RolloutRefused(f"each of books {error}") from error
