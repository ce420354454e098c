"""A desk whose strategy can be challenged: the floors above, as plain functions named by the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from helios.errors import Rejected
from helios.rollouts import process, selectors, services
from helios.rollouts.core.assignment import Assignment
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.models import Rollout
from tests.support.arms import reading

T0 = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
STEPS = [
    {"kind": "replay", "interval_s": 60, "min_samples": 10},
    {"kind": "shadow", "interval_s": 60, "min_samples": 10},
    {"kind": "live", "percentage": 1, "interval_s": 60, "min_samples": 10},
    {"kind": "live", "percentage": 50, "interval_s": 60, "min_samples": 10},
    {"kind": "live", "percentage": 100, "interval_s": 60, "min_samples": 10},
]


def asked(symbols: Iterable[str], book: str = "demo") -> tuple[Assignment, ...]:
    """What a cycle that starts now is asked."""
    process.refresh_if_behind()
    return selectors.assignments(symbols, book=book)


@dataclass
class Desk:
    """What helios sees of the floors above, and what it asked them."""

    champion: str = "sma_cross"
    arms: dict[str, ArmMeasures] = field(default_factory=reading)
    failure: Exception | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    promoted: list[tuple[Any, ...]] = field(default_factory=list)
    refusal: Exception | None = None

    def check(self, target: str, challenger: str, params: dict[str, Any]) -> str:
        """ROLLOUT_STRATEGIES"""
        if target != "demo":
            raise Rejected(f"target must be a book, was {target!r}; there are demo")
        if challenger not in {"sma_cross", "momentum"}:
            raise Rejected(f"challenger must be a strategy, was {challenger!r}")
        return self.champion

    def measure(self, rollout_id: int, step: int, since: datetime) -> dict[str, ArmMeasures]:
        """ROLLOUT_MEASURES"""
        self.asked.append((rollout_id, step, since))
        if self.failure is not None:
            raise self.failure
        return self.arms

    def replay(self, rollout: Rollout) -> dict[str, ArmMeasures]:
        """ROLLOUT_REPLAY"""
        return self.measure(rollout.pk, rollout.step, rollout.started_at)

    def promote(self, target: str, challenger: str, params: dict[str, Any], *, actor: str, reason: str) -> None:
        """ROLLOUT_PROMOTE_STRATEGY"""
        if self.refusal is not None:
            raise self.refusal
        self.promoted.append((target, challenger, params, actor))
        self.champion = challenger


@pytest.fixture
def strict(db) -> None:
    """As in production: the tests' own connection may clean append-only tables."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL helios.maintenance = 'off'")


@pytest.fixture
def desk(settings, db) -> Desk:
    made = Desk()
    settings.ROLLOUT_STRATEGIES = made.check
    settings.ROLLOUT_MEASURES = made.measure
    settings.ROLLOUT_REPLAY = made.replay
    settings.ROLLOUT_PROMOTE_STRATEGY = made.promote
    return made


@pytest.fixture
def plan(desk: Desk) -> Callable[..., Rollout]:
    """Make a rollout of a strategy, PENDING."""

    def make(name: str = "faster", **other: Any) -> Rollout:
        wanted = {"kind": "strategy", "target": "demo", "challenger": "momentum", "steps": STEPS, "actor": "ada"}
        return services.create(name, **{**wanted, "now": T0, **other})

    return make


@pytest.fixture
def rollout(plan) -> Rollout:
    """One that runs its first step, the replay, since T0."""
    return services.start(plan().pk, actor="ada", now=T0)


@pytest.fixture
def at_step(desk: Desk, rollout: Rollout) -> Callable[[int], Rollout]:
    """Bring the rollout to a step, by successes."""

    def bring(step: int) -> Rollout:
        for minute in range(1, 20):
            rollout.refresh_from_db()
            if rollout.step == step:
                break
            services.advance(rollout.pk, T0 + timedelta(minutes=minute))
        desk.asked.clear()
        return rollout

    return bring
