"""The seven Celery tasks of a cycle, and the two that beat sends."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from helios.db.failures import UNAVAILABLE
from helios.env import get_env
from helios.errors import Transient
from tiers.live import chain, schedule, stages
from trading.models import Stage

_OPTIONS: dict[str, Any] = {
    "autoretry_for": (*UNAVAILABLE, Transient),
    "retry_backoff": 1,
    "retry_backoff_max": 15,
    "max_retries": 8,
    "default_retry_delay": 1,
}


def _task_of(stage: Stage) -> None:
    @shared_task(name=f"tiers.{stage.value}", bind=True, **_OPTIONS)
    def run(task: Any, cycle_id: int) -> int:
        return stages.run_stage(cycle_id, stage, tried=task.request.retries)


for each in chain.STAGES:
    _task_of(each)


@shared_task(name="tiers.tick")
def tick() -> int:
    """Start the cycles that are due; a second tick for the same bar changes nothing."""
    return schedule.tick()


@shared_task(name="tiers.recover")
def recover() -> int:
    """Send again the chains of cycles whose worker or message was lost."""
    return chain.recover(stalled_s=get_env().stalled_cycle_s)
