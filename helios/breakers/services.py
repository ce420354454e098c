"""What a person does to a breaker: open it, close it, reset it, change its settings, look at it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone
from loguru import logger

from helios.breakers import process
from helios.breakers.catalog import SHIPPED
from helios.breakers.core import State
from helios.breakers.errors import SharedStateAway, UnknownBreaker
from helios.breakers.journal import Entry, write
from helios.breakers.models import CircuitBreaker, ShownState
from helios.breakers.store import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One breaker as it stands now; while Redis is away `known` is False and `state` the last recorded."""

    name: str
    state: str
    known: bool
    failures: int = 0
    calls: int = 0
    open_for_s: float = 0.0
    probes: int = 0

    def sentence(self) -> str:
        """The state in plain words."""
        if self.state == ShownState.FORCED_OPEN:
            return "Opened by a person: calls are refused until a person closes it."
        if not self.known:
            return f"Redis cannot be reached; the last state recorded was {ShownState(self.state).label}."
        if self.state == ShownState.HALF_OPEN:
            return f"Being tried again: {self.probes} probe(s) under way."
        return self._opened() if self.state == ShownState.OPEN else self._closed()

    def _opened(self) -> str:
        if self.open_for_s > 0:
            return f"Calls are refused for another {self.open_for_s:.0f} s; then the next goes as a probe."
        return "The open interval is over: the next call goes as a probe."

    def _closed(self) -> str:
        if not self.calls:
            return "Calls pass."
        return f"Calls pass; {self.failures} of the last {self.calls} calls failed."


def status(row: CircuitBreaker) -> Status:
    """The breaker as Redis knows it now; the row's last state while Redis is away. Changes nothing."""
    forced = ShownState.FORCED_OPEN.value
    try:
        reply = process.current().store.peek(row.name, row.settings().config)
    except SharedStateAway:
        return Status(name=row.name, state=forced if row.forced_open else row.last_state, known=False)
    circuit = reply.step.circuit
    return Status(
        name=row.name,
        state=forced if row.forced_open else circuit.state.value,
        known=True,
        failures=circuit.failures,
        calls=len(circuit.window),
        open_for_s=reply.open_for_s if circuit.state is State.OPEN else 0.0,
        probes=reply.probes,
    )


def force_open(name: str, *, actor: str, reason: str = "") -> bool:
    """Refuse every call of `name` until a person closes it; False when it was forced open already.

    Kept in the database, so it holds through a restart of Redis, and works while Redis is away. Calls that
    only reduce a position still pass where the breaker guards orders.
    """
    with transaction.atomic():
        row = _locked(name)
        if row.forced_open:
            return False
        before = status(row).state
        row.forced_open = True
        row.save(update_fields=["forced_open", "updated_at"])
        _record(name, before, ShownState.FORCED_OPEN, actor=actor, reason=reason or "opened by a person")
        transaction.on_commit(announce)
    return True


def close(name: str, *, actor: str, reason: str = "") -> bool:
    """Let calls of `name` pass again from now on; False when they did already.

    Raises `SharedStateAway`, with nothing changed, while Redis is away.
    """
    with transaction.atomic():
        row = _locked(name)
        now = status(row)
        if now.known and now.state == ShownState.CLOSED:
            return False
        _close(row, actor=actor, reason=reason or "closed by a person")
    return True


def reset(name: str, *, actor: str, reason: str = "") -> None:
    """Close `name` and forget its outcomes, also when it is closed; calls under way no longer count.

    Raises `SharedStateAway`, with nothing changed, while Redis is away.
    """
    with transaction.atomic():
        _close(_locked(name), actor=actor, reason=reason or "reset by a person")


def reset_all(*, actor: str, reason: str = "") -> list[str]:
    """Reset every breaker; returns their names."""
    names = list(CircuitBreaker.objects.values_list("name", flat=True))
    for name in names:
        reset(name, actor=actor, reason=reason)
    return names


def configure(row: CircuitBreaker) -> None:
    """Save a breaker's settings and tell every worker; raises `ValueError` where they contradict."""
    row.settings()
    with transaction.atomic():
        row.save()
        transaction.on_commit(announce)


def restore_shipped() -> list[str]:
    """Put back the shipped breakers that are missing; returns their names."""
    made = []
    for name in SHIPPED:
        if not CircuitBreaker.objects.filter(name=name).exists():
            configure(_from_catalog(name))
            made.append(name)
    return made


def announce() -> None:
    """Tell every worker to look again, this one at once; while Redis is away others do at their next task."""
    try:
        process.current().store.announce()
    except SharedStateAway as error:
        logger.bind(error=str(error)).warning("circuit.announcement_lost")
    process.current().expire()


def _close(row: CircuitBreaker, *, actor: str, reason: str) -> None:
    before = status(row).state
    if row.forced_open:
        row.forced_open = False
        row.save(update_fields=["forced_open", "updated_at"])
    _shared_close(row, reason)
    _record(row.name, before, ShownState.CLOSED, actor=actor, reason=reason)
    transaction.on_commit(announce)


def _shared_close(row: CircuitBreaker, reason: str) -> Reply:
    try:
        return process.current().store.close(row.name, row.settings().config, reason=reason)
    except SharedStateAway as error:
        raise SharedStateAway(f"{row.name} was left as it is: {error}") from error


def _record(name: str, before: str, after: str, *, actor: str, reason: str) -> None:
    write(Entry(ts=timezone.now(), name=name, before=before, after=after, reason=reason, actor=actor))


def _locked(name: str) -> CircuitBreaker:
    row = CircuitBreaker.objects.select_for_update().filter(name=name).first()
    if row is not None:
        return row
    if name not in SHIPPED:
        known = ", ".join(CircuitBreaker.objects.values_list("name", flat=True)) or "none"
        raise UnknownBreaker(f"no circuit breaker is named {name!r}; there are {known}")
    _from_catalog(name).save()
    return CircuitBreaker.objects.select_for_update().get(name=name)


def _from_catalog(name: str) -> CircuitBreaker:
    shipped = SHIPPED[name]
    return CircuitBreaker(
        name=name,
        description=shipped.description,
        failure_threshold=shipped.config.failure_threshold,
        minimum_calls=shipped.config.minimum_calls,
        window_calls=shipped.config.window_calls,
        open_s=shipped.config.open_s,
        half_open_permits=shipped.config.half_open_permits,
        permit_s=shipped.config.permit_s,
        order_path=shipped.order_path,
    )
