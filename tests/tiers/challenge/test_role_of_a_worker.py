"""What a worker's tasks write, they may write under the worker's role in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from django.utils import timezone

from helios.breakers import journal
from helios.db import roles
from helios.modules import presence, process, watch
from helios.rollouts.models import Rollout, RolloutDecision
from tests.support.challengers import BROKEN, SAME
from tests.tiers.challenge.conftest import FIRST, active, roll_out, run
from tiers.live import schedule, warmup
from trading.models import Book, Order, Stage

pytestmark = pytest.mark.django_db
write = journal.write  # the tests around leave it out


@pytest.fixture
def as_worker() -> Iterator[Callable[[], None]]:
    """From now on this process speaks as a worker's role."""

    def become() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {roles.WORKER}")

    yield become
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


def test_a_cycle_its_rollouts_and_a_roll_back_need_no_more_than_the_role(book, times, swap, challenger, as_worker):
    before = active("execute")
    swap("execute", BROKEN)
    calm = roll_out("module", "risk", challenger("risk", SAME["risk"]))
    broken = roll_out("module", "portfolio", challenger("portfolio", BROKEN))
    guards = [{"metric": "exception_rate", "limit": 0.0, "kind": "hard", "min_samples": 1}]
    Rollout.objects.filter(pk=broken.pk).update(guards=guards)
    as_worker()
    cycle = run(book, times[FIRST])
    assert (cycle.status, cycle.reason) == ("DONE", "")
    assert active("execute") == before
    assert Order.objects.filter(book=book).exists()
    assert RolloutDecision.objects.filter(rollout=calm).exists()
    assert Rollout.objects.get(pk=broken.pk).state == "ROLLED_BACK"


def test_the_rest_of_what_a_worker_does_needs_no_more_either(book, times, as_worker):
    Book.objects.filter(pk=book.pk).update(active=True, replay_from=times[-1], replay_until=times[-1])
    as_worker()
    mine = presence.enter("worker")
    presence.calling(mine, None)
    presence.clean()
    presence.leave(mine)
    write(journal.Entry(ts=timezone.now(), name="llm_api", before="CLOSED", after="OPEN", reason="r", actor="a"))
    assert schedule.tick() == 1
    assert warmup.active_modules([Stage.RISK]) == []
    assert (process.load_active(), watch.flush()) == ([], [])
    book.cycles.update(status="DONE", finished_at=timezone.now())
    assert schedule.tick() == 0
    assert not Book.objects.get(pk=book.pk).active
