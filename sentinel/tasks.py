"""What beat asks the sentinel to do."""

from __future__ import annotations

from celery import Task, shared_task

from sentinel import services


@shared_task(name="sentinel.audit", queue="maintenance", bind=True)
def audit(self: Task) -> str:  # type: ignore[type-arg]
    """One audit; returns its verdict. The queue that brought this message is served, whatever the poll says."""
    queue = (self.request.delivery_info or {}).get("routing_key") or "maintenance"
    return services.run_audit(serving=(queue,)).verdict.value


@shared_task(name="sentinel.heartbeat", queue="maintenance", bind=True)
def heartbeat(self: Task) -> None:  # type: ignore[type-arg]
    """Writes that beat's message came through to a worker."""
    services.heartbeat("beat", worker=self.request.hostname or "")
