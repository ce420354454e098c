"""Beat goes on when the machine's clock is set back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from helios.beat import Scheduler
from helios.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


def sent_in(scheduler: Scheduler, ticks: int) -> list[str]:
    """What it sends, with the clock as it is."""
    sent: list[str] = []
    scheduler.apply_entry = lambda entry, producer=None: sent.append(entry.name)
    for _ in range(ticks):
        scheduler.tick()
    return sent


def last_runs(scheduler: Scheduler, at: Any) -> None:
    for entry in scheduler.schedule.values():
        entry.last_run_at = entry.model.last_run_at = at


def test_what_ran_in_a_time_that_is_yet_to_come_is_due_as_if_it_had_run_now() -> None:
    scheduler = Scheduler(app=app)
    names = {*scheduler.schedule}
    last_runs(scheduler, timezone.now() - timedelta(days=1))
    assert {*sent_in(scheduler, len(names))} == names
    for entry in scheduler.schedule.values():  # the clock was three hours ahead, and is set back
        entry.model.last_run_at = timezone.now() + timedelta(hours=3)  # beat keeps entries of its own, of these models
    scheduler._heap = [item._replace(time=item.time + 10_800) for item in scheduler._heap]
    assert sent_in(scheduler, 3) == []
    late = max(entry.model.last_run_at for entry in scheduler.schedule.values())
    assert late <= timezone.now()
    assert max(item.time for item in scheduler._heap) < timezone.now().timestamp() + 2 * 86_400
    last_runs(scheduler, late - timedelta(days=1))
    scheduler._heap = None
    assert {*sent_in(scheduler, len(names))} == names
