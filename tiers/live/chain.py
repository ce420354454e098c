"""The chain of a cycle: started once for a bar, and sent again from where it stands when it no longer moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import celery
from billiard.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError
from loguru import logger

from helios import flags
from helios.control import generations
from helios.db import statements
from helios.db.failures import UNAVAILABLE
from helios.db.lengths import long_fields
from helios.db.locks import claimed
from helios.errors import plain
from helios.modules import process as modules
from helios.rollouts import process as rollouts
from tiers.challenge.pins import pins
from tiers.contracts.switches import to_json
from tiers.live import cycle_flags
from tiers.live.claims import CYCLES
from trading.books import read as books
from trading.models import Book, PipelineCycle, Stage
from trading.orders import outbox
from trading.orders.cycle_end import give_up

Status = PipelineCycle.Status
STAGES: list[Stage] = [stage for stage in Stage if stage is not Stage.DONE]
MAX_REDRIVES = 20
MAX_WAIT_S = 300.0
_TAKEN = f"""
    SELECT EXISTS (SELECT FROM pipeline_cycles WHERE book_id = %s AND (status = 'RUNNING' OR bar_ts >= %s)),
    {generations.AS_JSON}
"""  # noqa: S608 - no input


def start(book: Book, bar_ts: datetime, *, send: bool = True) -> PipelineCycle | None:
    """Claim the cycle of one bar and send its chain.

    None when the book has a cycle for this bar or a later one, or one that still runs: a book decides on one bar at a
    time, in order, whoever ticks.
    """
    with transaction.atomic():
        books.locked(book.pk)  # two ticks at once take turns here
        ((taken, counted),) = statements.fetch(_TAKEN, [book.pk, bar_ts])
        if taken:
            return None
        seen = generations.of_json(counted)
        if rollouts.refresh_if_behind(seen["rollouts"]):
            seen = generations.read()  # after the arms: a promotion between the two shows here, never in neither
        flags.refresh_if_behind(seen["flags"])
        modules.refresh_if_behind(seen["modules"])
        cycle = PipelineCycle.objects.create(
            book=book,
            timeframe=book.timeframe,
            bar_ts=bar_ts,
            mode=book.mode,
            switches=to_json(cycle_flags.read(book)),
            modules=modules.pins(),
            rollouts=pins(book),
        )
    if send:
        send_chain(cycle.pk, Stage.INGEST)
    return cycle


def send_chain(cycle_id: int, first: Stage) -> bool:
    """Send the tasks from `first` to the end; False when the broker is away (recovery sends them later)."""
    names = [f"tiers.{stage.value}" for stage in STAGES[STAGES.index(first) :]]
    head = celery.signature(names[0], args=(cycle_id,))
    try:
        celery.chain(head, *(celery.signature(name) for name in names[1:])).apply_async(retry=False)
    except (BrokerError, ConnectionError, TimeoutError) as error:
        logger.bind(cycle=cycle_id, error=str(error)).warning("cycle.not_sent")
        return False
    return True


def recover(*, stalled_s: float) -> int:
    """Send again the chains of cycles that made no progress for `stalled_s`; returns how many.

    A stage that is still at work holds its cycle's lock: the message then does nothing.
    Each attempt at one stage waits twice as long as the one before, up to `MAX_WAIT_S`, since a queue without a worker
    keeps its messages; after `MAX_REDRIVES` attempts without progress the cycle ends as FAILED. Last, the venue is
    asked about the orders that ended cycles have left unclear. What fails for one cycle keeps no other one waiting.
    """
    now, wait = timezone.now(), timedelta(seconds=stalled_s)
    stalled = Q(progressed_at__lt=now - wait) | Q(progressed_at__gt=now + wait)  # or the clock was set back
    stuck = PipelineCycle.objects.filter(stalled, status=Status.RUNNING)
    found = [_alone(cycle, partial(_redrive, cycle, now=now, stalled_s=stalled_s)) for cycle in _first(stuck)]
    for ended in _first(outbox.left_behind()):
        _alone(ended, partial(_ask_again, ended))
    return sum(found)


def _first(cycles: QuerySet[PipelineCycle]) -> QuerySet[PipelineCycle]:
    return cycles.select_related("book").defer(*long_fields(PipelineCycle)).order_by("pk")[:100]


def _alone(cycle: PipelineCycle, work: Callable[[], bool]) -> bool:
    """What `work` says; False, and a line, where it fails."""
    try:
        return work()
    except (*UNAVAILABLE, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the next cycle may need no more than to be sent again
        logger.bind(cycle=cycle.pk).opt(exception=plain(error)).error("cycle.not_recovered")
        return False


def _redrive(cycle: PipelineCycle, *, now: datetime, stalled_s: float) -> bool:
    """Send a cycle's chain again, or end it, if it has waited long enough; whether it was sent."""
    wait_s = min(stalled_s * 2 ** min(cycle.redriven, MAX_REDRIVES), max(stalled_s, MAX_WAIT_S))
    if abs(now - cycle.progressed_at) < timedelta(seconds=wait_s):
        return False
    with transaction.atomic():
        owner = PipelineCycle.objects.select_for_update(of=("self",), skip_locked=True)
        if not owner.filter(pk=cycle.pk, status=Status.RUNNING, progressed_at=cycle.progressed_at).exists():
            return False
        if cycle.redriven >= MAX_REDRIVES:
            give_up(cycle, f"gave up at {cycle.stage} after {cycle.redriven} attempts")
            return False
        PipelineCycle.objects.filter(pk=cycle.pk).update(redriven=F("redriven") + 1, progressed_at=Now())
    due = Stage(cycle.stage)
    logger.bind(cycle=cycle.pk, stage=due.value, redriven=cycle.redriven + 1).warning("cycle.redriven")
    return send_chain(cycle.pk, Stage.EXECUTE if due is Stage.DONE else due)


def _ask_again(ended: PipelineCycle) -> bool:
    with claimed(CYCLES, ended.pk) as mine:
        if mine:
            outbox.flush(ended)
    return mine
