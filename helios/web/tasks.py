"""Housekeeping of the web base."""

from celery import shared_task
from django.utils import timezone

from helios.web import idempotency, sessions


@shared_task(name="web.forget_idempotency_keys")
def forget_idempotency_keys() -> int:
    """Delete idempotency keys older than a day; returns how many."""
    return idempotency.forget_expired(timezone.now())


@shared_task(name="web.forget_ended_sessions")
def forget_ended_sessions() -> int:
    """Delete the sessions that have ended; returns how many."""
    return sessions.forget_ended()
