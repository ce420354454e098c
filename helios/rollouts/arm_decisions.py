"""What both arms said, written by the stage that asked them, in that stage's own transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.utils import timezone

from helios.db.json_values import json_safe
from helios.rollouts.core.assignment import Arm
from helios.rollouts.models import RolloutDecision

MAX_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDecision:
    """One arm's word on one symbol at one bar; `error` instead of a value when the arm raised."""

    rollout_id: int
    step: int
    cycle_id: int
    bar_ts: datetime
    symbol: str  # of a stage that works on whole books: the book's name
    arm: str  # Arm
    shadow: bool = False  # nothing follows from it
    value: Mapping[str, Any] = field(default_factory=dict)  # such as probability, weight
    latency_ms: float | None = None
    error: str = ""


def record(rows: Iterable[ArmDecision], *, now: datetime | None = None) -> int:
    """Append the rows in the caller's transaction; returns how many were given.

    A row that is there already (same rollout, cycle, symbol and arm) stays as it is, so that a stage that runs
    again changes nothing. Numbers that are not finite are kept as null.
    """
    moment = now or timezone.now()
    made = [_row(each, moment) for each in rows]
    RolloutDecision.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


def _row(decision: ArmDecision, recorded_at: datetime) -> RolloutDecision:
    return RolloutDecision(
        rollout_id=decision.rollout_id,
        step=decision.step,
        arm=Arm(decision.arm).value,
        shadow=decision.shadow,
        cycle_id=decision.cycle_id,
        bar_ts=decision.bar_ts,
        symbol=decision.symbol,
        value=json_safe(dict(decision.value)),
        latency_ms=json_safe(decision.latency_ms),
        error=decision.error[:MAX_ERROR],
        recorded_at=recorded_at,
    )
