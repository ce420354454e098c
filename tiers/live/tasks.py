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


@shared_task(name="tiers.ingest", **_OPTIONS)
def ingest(cycle_id: int) -> int:
    """Read, check and store the bar; settle the orders that waited for it."""
    return stages.run_stage(cycle_id, Stage.INGEST)


@shared_task(name="tiers.features", **_OPTIONS)
def features(cycle_id: int) -> int:
    """Compute the features of the bar."""
    return stages.run_stage(cycle_id, Stage.FEATURES)


@shared_task(name="tiers.predict", **_OPTIONS)
def predict(cycle_id: int) -> int:
    """Ask the model for probabilities (queue gpu)."""
    return stages.run_stage(cycle_id, Stage.PREDICT)


@shared_task(name="tiers.risk", **_OPTIONS)
def risk(cycle_id: int) -> int:
    """Forecast volatility and bound what may be held."""
    return stages.run_stage(cycle_id, Stage.RISK)


@shared_task(name="tiers.llm", **_OPTIONS)
def llm(cycle_id: int) -> int:
    """Ask the strategic analyst."""
    return stages.run_stage(cycle_id, Stage.LLM)


@shared_task(name="tiers.portfolio", **_OPTIONS)
def portfolio(cycle_id: int) -> int:
    """Choose the target weights."""
    return stages.run_stage(cycle_id, Stage.PORTFOLIO)


@shared_task(name="tiers.execute", **_OPTIONS)
def execute(cycle_id: int) -> int:
    """Turn weights into orders, send them, end the cycle."""
    return stages.run_stage(cycle_id, Stage.EXECUTE)


@shared_task(name="tiers.tick")
def tick() -> int:
    """Start the cycles that are due; a second tick for the same bar changes nothing."""
    return schedule.tick()


@shared_task(name="tiers.recover")
def recover() -> int:
    """Send again the chains of cycles whose worker or message was lost."""
    return chain.recover(stalled_s=get_env().stalled_cycle_s)
