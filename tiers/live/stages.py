"""One stage of a cycle: claimed, run and passed on once, whatever is redelivered or killed; and the end of a cycle.

A stage runs in one transaction that holds the cycle's row: it compares and sets `cycle.stage`, writes its output, its
`StageRun` and its ledger entry, and commits them together. A worker that dies leaves the row as it was; a message that
comes twice finds the stage passed and hands the id on.

A stage that may wait on a network (`handlers.WAITS`) does its work before that transaction, which only writes; a
session lock keeps a second worker from the same call. A worker that dies in between has written nothing, and the call
is made again.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from loguru import logger

from helios import breakers, events, flags
from helios.db.failures import UNAVAILABLE
from helios.db.locks import claimed
from helios.modules import registry as modules
from helios.modules import watch
from helios.modules.errors import WatchedCallFailed
from tiers.challenge import arms
from tiers.challenge.pins import react
from tiers.contracts.errors import HeliosError, Transient
from tiers.live import switches as switchboard
from tiers.live.handlers import HANDLERS, WAITS
from tiers.live.lateness import late_now
from tiers.live.stage_context import Skip, StageContext, StageResult
from trading.books import ledger
from trading.models import Book, PipelineCycle, Stage, StageRun
from trading.orders import outbox

Status = PipelineCycle.Status
CYCLES = "helios.cycles"  # the space of the locks of those who run a stage that waits


def run_stage(cycle_id: int, stage: Stage) -> int:
    """Run one stage of a cycle if it is due; returns the id for the next task of the chain."""
    started = time.perf_counter()
    modules.refresh_if_behind()
    breakers.refresh_if_behind()
    cycle: PipelineCycle | None = None
    alone = claimed(CYCLES, cycle_id) if stage in WAITS else nullcontext(enter_result=True)
    with logger.contextualize(cycle=cycle_id, tier=stage.value), alone as mine:
        if mine:
            cycle = _run(cycle_id, stage, started)
    watch.flush()
    if cycle is not None and cycle.status != Status.RUNNING:
        react(cycle)
    if stage is Stage.EXECUTE:
        finish(cycle_id)
    return cycle_id


def _run(cycle_id: int, stage: Stage, started: float) -> PipelineCycle | None:
    """Run the stage; when a version that was just switched in raises, once more with the one before it.

    What raises has written nothing, so that a stage is made of one version. None where the stage was not due.
    """
    try:
        try:
            return _attempt(cycle_id, stage, started)
        except WatchedCallFailed as failure:
            return _attempt(cycle_id, stage, started, after=failure)
    except Skip as skip:
        status, reason = Status.SKIPPED, str(skip)
    except (Transient, *UNAVAILABLE):
        raise  # the task is tried again, a bounded number of times
    except HeliosError as error:
        status, reason = Status.FAILED, f"{stage.value}: {error}"
    except Exception as error:  # noqa: BLE001 - a defect in a tier ends its cycle with a reason; it must not stop the book
        logger.opt(exception=True).error("tier.defect")
        status, reason = Status.FAILED, f"{stage.value}: {type(error).__name__}: {error}"
    with transaction.atomic():
        cycle = _claimed(cycle_id, stage)
        if cycle is not None:
            end(cycle, status, reason)
    return cycle


def _attempt(
    cycle_id: int, stage: Stage, started: float, *, after: WatchedCallFailed | None = None
) -> PipelineCycle | None:
    """One try at a stage that is due, `after` a failed one with the version before. Raises what the stage raises."""
    result: StageResult | None = None
    modules_used: dict[str, str] = {}
    if stage in WAITS:
        seen = _due(cycle_id, stage).first()
        if seen is None:
            return None
        result, modules_used = _work(seen, stage, after), seen.modules
    with transaction.atomic():
        cycle = _claimed(cycle_id, stage)
        if cycle is None:
            return None
        if result is None:
            result = _work(cycle, stage, after)
        else:
            cycle.modules = modules_used
        _pass_on(cycle, stage, result, (time.perf_counter() - started) * 1e3)
        if result.skip:
            end(cycle, Status.SKIPPED, result.skip)
    return cycle


def _due(cycle_id: int, stage: Stage) -> QuerySet[PipelineCycle]:
    return PipelineCycle.objects.select_related("book").filter(pk=cycle_id, status=Status.RUNNING, stage=stage)


def _claimed(cycle_id: int, stage: Stage) -> PipelineCycle | None:
    """The cycle with its row locked, None where the stage is not due or another worker is at it."""
    return _due(cycle_id, stage).select_for_update(of=("self",), skip_locked=stage not in WAITS).first()


def _work(cycle: PipelineCycle, stage: Stage, after: WatchedCallFailed | None) -> StageResult:
    """What the stage says; `after` a failure with the version before, to which the cycle is pinned from then on.

    The watch itself rolls the slot back once the stage is over. Raises the failure where there is no version before.
    """
    if after is None:
        return HANDLERS[stage](_context(cycle))
    previous = arms.fallback(cycle, stage)
    if not previous:
        raise after
    failed = cycle.modules[stage.value]
    cycle.modules = {**cycle.modules, stage.value: previous}
    logger.bind(failed=failed, serves=previous, error=str(after)).warning("tier.previous_version")
    result = HANDLERS[stage](_context(cycle))
    again = {"failed": failed, "serves": previous, "error": str(after)}
    reason = "; ".join(filter(None, [str(after), result.reason]))
    return replace(
        result, fallback="previous_version", reason=reason, summary={**result.summary, "previous_version": again}
    )


def _context(cycle: PipelineCycle) -> StageContext:
    return StageContext(cycle=cycle, book=cycle.book, switches=switchboard.from_json(cycle.switches))


def _pass_on(cycle: PipelineCycle, stage: Stage, result: StageResult, duration_ms: float) -> None:
    queue_ms = (timezone.now() - cycle.progressed_at).total_seconds() * 1e3 - duration_ms
    moved = PipelineCycle.objects.filter(pk=cycle.pk, stage=stage, status=Status.RUNNING).update(
        stage=stage.following, progressed_at=Now(), redriven=0, modules=cycle.modules
    )
    if moved != 1:
        raise RuntimeError(f"cycle {cycle.pk} must be at {stage.value}, it moved while its row was locked")
    summary = {**result.summary, **result.write(cycle)}
    StageRun.objects.create(
        cycle=cycle,
        stage=stage,
        worker=worker_name(),
        module_version=result.version or cycle.modules.get(stage.value, ""),
        queue_ms=max(0.0, queue_ms),
        duration_ms=duration_ms,
        fallback=result.fallback,
        reason=result.reason,
    )
    ledger.append(cycle.book_id, cycle.pk, stage.value, {"bar_ts": cycle.bar_ts.isoformat(), **summary})
    if result.fallback:
        events.record(
            kind="tier.fallback",
            severity="warning",
            source=f"tiers.{stage.value}",
            subject=str(cycle),
            data={"fallback": result.fallback, "reason": result.reason},
        )
        logger.bind(fallback=result.fallback, reason=result.reason).warning("tier.fallback")


def finish(cycle_id: int) -> None:
    """Send the cycle's orders and close it. Safe to repeat; one process at a time owns the sending."""
    with claimed(CYCLES, cycle_id) as owned:
        if not owned:
            return
        cycle = (
            PipelineCycle.objects.select_related("book")
            .annotate(n_orders=Count("orders"))
            .filter(pk=cycle_id, status=Status.RUNNING, stage=Stage.DONE)
            .first()
        )
        if cycle is None:
            return
        unclear = outbox.flush(cycle, refusal=lambda book: _no_longer(book, cycle.bar_ts))
        if unclear:
            logger.bind(cycle=cycle.pk, orders=unclear).warning("cycle.orders_unclear")
            return  # recovery comes back, asks the venue again and sends what waits
        with transaction.atomic():
            end(cycle, Status.DONE, "", n_orders=cycle.n_orders)
    react(cycle)


def _no_longer(book: Book, bar_ts: datetime) -> str:
    """Why an order that waits must not leave any more; empty when it may. Asked before each order.

    A book that was stopped still carries out the cycle that runs: `active` speaks of new cycles only.
    """
    if late_now(book, bar_ts):
        return "the bar is too late to be traded"
    flags.refresh_if_behind()
    return "" if switchboard.read(book).auto_trading else "auto_trading is off"


def end(cycle: PipelineCycle, status: str, reason: str, *, n_orders: int = 0) -> None:
    """Close a cycle once, on the ledger, and wake whoever waits for it."""
    entry = ledger.draft(cycle.book_id, cycle.pk, "end", {"status": str(status), "reason": reason})
    closed = PipelineCycle.objects.filter(pk=cycle.pk, status=Status.RUNNING).update(
        status=status, reason=reason, finished_at=Now(), progressed_at=Now(), ledger_hash=entry.hash
    )
    if closed != 1:
        return
    entry.save(force_insert=True)
    cycle.status = status
    if status != Status.DONE:
        severity = "critical" if status == Status.FAILED else "info"
        events.record(
            kind=f"cycle.{status.lower()}",
            severity=severity,
            source="tiers.live",
            subject=str(cycle),
            data={"reason": reason},
        )
    took_s = round((timezone.now() - cycle.started_at).total_seconds(), 2)
    done = {"book": cycle.book.name, "bar": cycle.bar_ts.isoformat(), "orders": n_orders, "took_s": took_s}
    logger.bind(cycle=cycle.pk, **done, status=str(status), reason=reason).info("cycle.ended")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('helios_cycles', %s)", [str(cycle.pk)])


def worker_name() -> str:
    """Where a stage ran: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"
