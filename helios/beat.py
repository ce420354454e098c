"""Beat's schedule, which goes on when the machine's clock is set back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django_celery_beat.schedulers import DatabaseScheduler
from loguru import logger

STEP: Final = timedelta(seconds=5)  # of a clock; less is caught up by waiting


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # it has no types
    """Celery's own, to which what ran in a time that is yet to come is due an interval behind that time."""

    def tick(self, *given: Any, **named: Any) -> float:
        """Send what is due; returns how many seconds there are until something may be."""
        now = datetime.now(UTC)
        ahead = [each for each in (self._schedule or {}).values() if each.model.last_run_at > now + STEP]
        for each in ahead:
            each.last_run_at = each.model.last_run_at = now
        if ahead:
            self._heap = None  # its order is that of the times of before
            logger.bind(entries=len(ahead)).warning("beat.clock_set_back")
        return float(super().tick(*given, **named))
