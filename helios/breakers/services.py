"""What a person does to a breaker. Each change: row lock, history and event in one transaction, then the news."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone
from loguru import logger

from helios.breakers import process
from helios.breakers.catalog import SHIPPED
from helios.breakers.core.config import FIELDS, Mode
from helios.breakers.errors import InvalidBreaker, SharedStateAway
from helios.breakers.fields import assign, check
from helios.breakers.journal import Entry, write
from helios.breakers.models import Action, CircuitBreaker, ShownState
from helios.breakers.selectors import Status, status, unknown
from helios.control import bounds
from helios.control.change import Subject, check_version, locked

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def force_open(name: str, *, actor: str, reason: str = "") -> bool:
    """Refuse every call of `name` until a person closes it; False when it was forced open already.

    Kept in the database, so it holds through a restart of Redis, and works while Redis is away. Calls that
    only reduce a position still pass where the breaker guards orders.
    """
    reason = reason or "opened by a person"
    return _set_mode(name, Mode.FORCED_OPEN, Action.FORCE_OPEN, ShownState.FORCED_OPEN, actor=actor, reason=reason)


def metrics_only(name: str, *, actor: str, reason: str = "") -> bool:
    """Let every call of `name` pass and only measure; False when it did so already.

    What it would have done is in the history, not enforced. Raises `InvalidBreaker` where it guards orders.
    """
    reason = reason or "set to measure only by a person"
    return _set_mode(name, Mode.METRICS_ONLY, Action.METRICS_ONLY, ShownState.METRICS_ONLY, actor=actor, reason=reason)


def normal(name: str, *, actor: str, reason: str = "") -> bool:
    """Let the breaker act by what it measures, from the state it stands in; False when it did so already.

    Works while Redis is away. To begin with a closed circuit, `close` it instead.
    """
    return _set_mode(name, Mode.NORMAL, Action.NORMAL, None, actor=actor, reason=reason or "set to act by a person")


def close(name: str, *, actor: str, reason: str = "") -> bool:
    """Let calls of `name` pass again from now on; False when they did already.

    Raises `SharedStateAway`, with nothing changed, while Redis is away.
    """
    with _changing(name, actor) as row:
        now = status(row)
        if now.known and now.state == ShownState.CLOSED:
            return False
        row.mode = Mode.NORMAL.value
        _close(row, now, Action.CLOSE, actor=actor, reason=reason or "closed by a person")
    return True


def reset(name: str, *, actor: str, reason: str = "") -> None:
    """Close `name` and forget its outcomes, also when it is closed; calls under way no longer count.

    One that only measures goes on measuring. Raises `SharedStateAway`, with nothing changed, while Redis is away.
    """
    with _changing(name, actor) as row:
        if row.mode == Mode.FORCED_OPEN:
            row.mode = Mode.NORMAL.value
        _close(row, status(row), Action.RESET, actor=actor, reason=reason or "reset by a person")


def reset_all(*, actor: str, reason: str = "") -> list[str]:
    """Reset every breaker; returns their names."""
    names = list(CircuitBreaker.objects.order_by("name").values_list("name", flat=True))
    for name in names:
        reset(name, actor=actor, reason=reason)
    return names


def create(name: str, fields: Mapping[str, Any] | None = None, *, actor: str, reason: str = "") -> CircuitBreaker:
    """Add a breaker; fields that are not given get their defaults. Raises `InvalidBreaker`, naming what is wrong."""
    if not NAME.fullmatch(name):
        raise InvalidBreaker(f"a breaker's name must be 1 to 64 letters, digits, _ or -, was {name!r}")
    row = CircuitBreaker(name=name)
    changes = assign(row, fields or {})
    with BREAKERS.changing(actor=actor):
        if name not in SHIPPED:
            others = CircuitBreaker.objects.exclude(name__in=SHIPPED)
            bounds.check_room(others, bounds.BREAKERS, "breakers", InvalidBreaker)
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as error:  # who came first may have come this very moment
            raise InvalidBreaker(f"a new breaker's name must be free, was taken: {name}") from error
        _record(row, Action.CREATE, actor=actor, reason=reason or "created by a person", changes=changes)
    return row


def configure(
    name: str, changes: Mapping[str, Any], *, actor: str, reason: str = "", version: int | None = None
) -> CircuitBreaker:
    """Change settings of `name` (the fields of `Config`, `order_path`, `description`) and tell every worker.

    With `version`, the row's own when it was read, a change made meanwhile raises `Conflict`. Raises
    `InvalidBreaker`, with nothing changed, where the settings contradict each other. Nothing is written where
    nothing changes.
    """
    with _changing(name, actor, version) as row:
        found = assign(row, changes)
        if found:
            _save(row)
            _record(row, Action.CONFIGURE, actor=actor, reason=reason or "configured by a person", changes=found)
    return row


def delete(name: str, *, actor: str, reason: str = "", version: int | None = None) -> None:
    """Take a breaker away that no code uses any more; its history stays. Shipped ones cannot be deleted."""
    if name in SHIPPED:
        raise InvalidBreaker(f"{name} ships with Helios and code finds it by its name: it cannot be deleted")
    with _changing(name, actor, version) as row:
        _record(row, Action.DELETE, actor=actor, reason=reason or "deleted by a person")
        row.delete()
        transaction.on_commit(partial(_remove, name))


def restore_shipped() -> list[str]:
    """Put back the shipped breakers that are missing; returns their names."""
    made = []
    for name in SHIPPED:
        with BREAKERS.alone():
            if not CircuitBreaker.objects.filter(name=name).exists():
                _from_catalog(name).save()
                BREAKERS.moved()
                made.append(name)
    return made


def _announce() -> None:
    """Tell every worker to look again, this one at once; while Redis is away others do at their next task."""
    try:
        process.current().store.announce()
    except SharedStateAway as error:
        logger.bind(error=str(error)).warning("circuit.announcement_lost")
    process.current().expire()


BREAKERS: Final = Subject(name="breakers", refused=InvalidBreaker, follow=_announce)


@contextmanager
def _changing(name: str, actor: str, version: int | None = None) -> Iterator[CircuitBreaker]:
    """The breaker's row, locked in a transaction; a shipped one without a row gets it."""
    with BREAKERS.changing(actor=actor):
        rows = CircuitBreaker.objects.filter(name=name)
        if name in SHIPPED and not rows.exists():
            _from_catalog(name).save()
        row = locked(rows, lambda: unknown(name))
        check_version(row, version, row.events.exclude(action=Action.TRANSITION))
        yield row


def _set_mode(name: str, mode: Mode, action: Action, shown: ShownState | None, *, actor: str, reason: str) -> bool:
    with _changing(name, actor) as row:
        if row.mode == mode:
            return False
        before, row.mode = status(row), mode.value
        check(row)
        _save(row)
        after = shown.value if shown else (before.circuit if before.known else row.last_state)
        if after in (ShownState.FORCED_OPEN, ShownState.METRICS_ONLY) and shown is None:
            after = ShownState.CLOSED.value  # Redis is away: what stands below the mode is not known
        _note(name, before.state, after, action, actor=actor, reason=reason)
        BREAKERS.moved()
    return True


def _close(row: CircuitBreaker, before: Status, action: Action, *, actor: str, reason: str) -> None:
    try:
        process.current().store.close(row.name, row.settings().config, reason=reason)
    except SharedStateAway as error:
        raise SharedStateAway(f"{row.name} was left as it is: {error}") from error
    _save(row)
    after = ShownState.METRICS_ONLY if row.mode == Mode.METRICS_ONLY else ShownState.CLOSED
    _note(row.name, before.state, after.value, action, actor=actor, reason=reason)
    BREAKERS.moved()


def _save(row: CircuitBreaker) -> None:
    row.version += 1
    row.save()


def _record(
    row: CircuitBreaker, action: Action, *, actor: str, reason: str, changes: dict[str, list[Any]] | None = None
) -> None:
    """A change that moves no circuit: its history shows the state on both sides."""
    state = status(row).state
    _note(row.name, state, state, action, actor=actor, reason=reason, changes=changes)
    BREAKERS.moved()


def _note(
    name: str,
    before: str,
    after: str,
    action: Action,
    *,
    actor: str,
    reason: str,
    changes: dict[str, list[Any]] | None = None,
) -> None:
    write(
        Entry(
            ts=timezone.now(),
            name=name,
            before=before,
            after=after,
            reason=reason,
            actor=actor,
            action=action.value,
            changes=changes or {},
        )
    )


def _remove(name: str) -> None:
    try:
        process.current().store.remove(name)
    except SharedStateAway as error:
        logger.bind(circuit=name, error=str(error)).warning("circuit.state_left_behind")


def _from_catalog(name: str) -> CircuitBreaker:
    shipped = SHIPPED[name]
    config = {field: getattr(shipped.config, field) for field in FIELDS}
    return CircuitBreaker(name=name, description=shipped.description, order_path=shipped.order_path, **config)
