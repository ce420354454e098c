"""The beat's task: rollouts move on when their interval is over."""

from __future__ import annotations

from celery import shared_task

from helios.rollouts import services


@shared_task(name="rollouts.advance")
def advance() -> int:
    """Analyse and promote what is due; returns how many rollouts were."""
    return len(services.run_due())
