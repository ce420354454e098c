"""Do cycles and orders move?"""

from __future__ import annotations

from datetime import datetime

from sentinel.audits.facts import Mode, Snapshot
from sentinel.audits.findings import Finding, Limits, Severity


def _severity(mode: Mode) -> Severity:
    return Severity.CRITICAL if mode is Mode.LIVE else Severity.WARNING


def _age_s(snapshot: Snapshot, since: datetime) -> float:
    """How far a moment is; one that is yet to come is of a clock that was set back, and no younger for it."""
    return abs((snapshot.taken_at - since).total_seconds())


def cycles(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """CYCLE_STUCK: a running cycle has finished no stage for too long."""
    return [
        Finding(
            code="CYCLE_STUCK",
            severity=_severity(cycle.mode),
            subject=str(cycle.id),
            message=f"cycle {cycle.id} of book {cycle.book} waits at {cycle.stage} for {age_s:.0f} s",
            observed=f"{age_s:.0f} s",
            limit=f"{limits.cycle_stalled_s:.0f} s",
        )
        for cycle in snapshot.cycles
        if (age_s := _age_s(snapshot, cycle.progressed_at)) > limits.cycle_stalled_s
    ]


def orders(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """ORDER_UNCLEAR: an order may or may not have reached its venue, and nobody has found out."""
    return [
        Finding(
            code="ORDER_UNCLEAR",
            severity=_severity(order.mode),
            subject=order.client_order_id,
            message=f"order {order.client_order_id} of book {order.book} is {order.status} for {age_s:.0f} s",
            observed=f"{age_s:.0f} s",
            limit=f"{limits.order_unclear_s:.0f} s",
        )
        for order in snapshot.orders
        if order.status in {"SENDING", "UNKNOWN"} and (age_s := _age_s(snapshot, order.since)) > limits.order_unclear_s
    ]


def outbox(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """OUTBOX_WAITING: decided orders of a book that nobody sends."""
    waiting: dict[tuple[str, Mode], list[float]] = {}
    for order in snapshot.orders:
        age_s = _age_s(snapshot, order.since)
        if order.status == "NEW" and age_s > limits.outbox_age_s:
            waiting.setdefault((order.book, order.mode), []).append(age_s)
    return [
        Finding(
            code="OUTBOX_WAITING",
            severity=_severity(mode),
            subject=book,
            message=f"{len(ages)} orders of book {book} wait to be sent, the oldest for {max(ages):.0f} s",
            observed=f"{max(ages):.0f} s",
            limit=f"{limits.outbox_age_s:.0f} s",
        )
        for (book, mode), ages in waiting.items()
    ]
