"""What beat asks the sentinel to do, on queue maintenance (CELERY_TASK_ROUTES)."""

from __future__ import annotations

from celery import Task, shared_task
from loguru import logger

from sentinel import services


@shared_task(name="sentinel.audit", bind=True)
def audit(self: Task) -> str:  # type: ignore[type-arg]
    """One audit; returns its verdict. The queue that brought this message is served for certain."""
    queue = (self.request.delivery_info or {}).get("routing_key") or "maintenance"
    report = services.run_audit(serving=(queue,))
    logger.bind(verdict=report.verdict.value, findings=len(report.findings)).info("sentinel.audited")
    return report.verdict.value


@shared_task(name="sentinel.heartbeat", bind=True)
def heartbeat(self: Task) -> None:  # type: ignore[type-arg]
    """Writes that beat's message came through to a worker."""
    services.heartbeat("beat", worker=self.request.hostname or "")
