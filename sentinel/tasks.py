"""What beat asks the sentinel to do, on queue maintenance (CELERY_TASK_ROUTES)."""

from __future__ import annotations

from typing import Final

from celery import Task, chain, shared_task
from celery.signals import beat_init
from loguru import logger

from sentinel import services
from sentinel.audits.findings import Verdict

STARTING: Final = 6  # audits, one every `AGAIN_S`, until the workers that start beside beat are there
AGAIN_S: Final = 5.0


@shared_task(name="sentinel.audit", bind=True)
def audit(self: Task, again: int = 0) -> str:  # type: ignore[type-arg]
    """One audit; returns its verdict. The queue that brought this message is served for certain.

    `again`: so many more follow soon while it is not HEALTHY.
    """
    queue = (self.request.delivery_info or {}).get("routing_key") or "maintenance"
    report = services.run_audit(serving=(queue,))
    logger.bind(verdict=report.verdict.value, findings=len(report.findings)).info("sentinel.audited")
    if again and report.verdict is not Verdict.HEALTHY:
        audit.apply_async(kwargs={"again": again - 1}, countdown=AGAIN_S)
    return report.verdict.value


@beat_init.connect
def begin(**_: object) -> None:
    """Beat is heard, and everything audited, as soon as it starts: its schedule would let both wait for their turn."""
    chain(heartbeat.si(), audit.si(again=STARTING)).apply_async(retry=False)


@shared_task(name="sentinel.heartbeat", bind=True)
def heartbeat(self: Task) -> None:  # type: ignore[type-arg]
    """Writes that beat's message came through to a worker."""
    services.heartbeat("beat", worker=self.request.hostname or "")
