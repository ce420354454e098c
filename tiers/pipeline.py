"""The chain of a cycle: start it once, run each stage once, end it once, whatever is redelivered or killed.

A stage runs in one transaction that holds the cycle's row: it compares and sets `cycle.stage`, writes its output, its
`StageRun` and its ledger entry, and commits them together. A worker that dies leaves the row as it was; a message that
comes twice finds the stage passed and hands the id on.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from celery import chain, signature
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Count, F, Q
from django.db.models.functions import Now
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError
from loguru import logger

from helios import breakers, events, flags
from helios.modules import registry as modules
from helios.modules import watch
from helios.modules.errors import WatchedCallFailed
from tiers import switches as switchboard
from tiers.delivery import arms
from tiers.delivery import cycles as delivery
from tiers.errors import HeliosError, Rejected, Transient
from tiers.lateness import late_now
from tiers.stages import HANDLERS, Skip, StageContext, StageResult
from trading.models import Book, PipelineCycle, Stage, StageRun
from trading.services import ledger, orders

Status = PipelineCycle.Status
STAGES: list[Stage] = [stage for stage in Stage if stage is not Stage.DONE]
MAX_REDRIVES = 20
MAX_WAIT_S = 300.0
_LOCK_SPACE = 0x48454C49  # "HELI": keeps our advisory locks apart from other users of the database


# --- start ---


def start(book: Book, bar_ts: datetime, *, shard: int = 0, send: bool = True) -> PipelineCycle | None:
    """Claim the cycle of one bar and send its chain.

    None when the book has a cycle for this bar or a later one, or one that still runs: a book decides on one bar at a
    time, in order, whoever ticks. `Rejected` for a shard other than 0, since a book's universe is not divided yet.
    """
    if shard != 0:
        raise Rejected(f"shard must be 0, was {shard}: a book's universe is not divided yet")
    flags.refresh_if_behind()
    with transaction.atomic():
        Book.objects.select_for_update().get(pk=book.pk)  # two ticks at once take turns here
        if book.cycles.filter(Q(status=Status.RUNNING) | Q(bar_ts__gte=bar_ts)).exists():
            return None
        arms = delivery.pins(book)
        modules.refresh_if_behind()  # after the arms: a promotion between the two shows here, never in neither
        cycle = PipelineCycle.objects.create(
            book=book,
            timeframe=book.timeframe,
            bar_ts=bar_ts,
            shard=shard,
            mode=book.mode,
            switches=switchboard.to_json(switchboard.read(book)),
            modules=modules.pins(),
            rollouts=arms,
        )
    if send:
        send_chain(cycle.pk, Stage.INGEST)
    return cycle


def send_chain(cycle_id: int, first: Stage) -> bool:
    """Send the tasks from `first` to the end; False when the broker is away (recovery sends them later)."""
    names = [f"tiers.{stage.value}" for stage in STAGES[STAGES.index(first) :]]
    head = signature(names[0], args=(cycle_id,))
    try:
        chain(head, *(signature(name) for name in names[1:])).apply_async(retry=False)
    except (BrokerError, ConnectionError, TimeoutError) as error:
        logger.bind(cycle=cycle_id, error=str(error)).warning("cycle.not_sent")
        return False
    return True


# --- run ---


def run_stage(cycle_id: int, stage: Stage) -> int:
    """Run one stage of a cycle if it is due; returns the id for the next task of the chain."""
    started = time.perf_counter()
    modules.refresh_if_behind()
    breakers.refresh_if_behind()
    with transaction.atomic():
        cycle = (
            PipelineCycle.objects.select_for_update(of=("self",), skip_locked=True)
            .select_related("book")
            .filter(pk=cycle_id, status=Status.RUNNING, stage=stage)
            .first()
        )
        if cycle is not None:
            with logger.contextualize(cycle=cycle_id, tier=stage.value):
                _run_claimed(cycle, stage, started)
    watch.flush()
    if cycle is not None and cycle.status != Status.RUNNING:
        delivery.react(cycle)
    if stage is Stage.EXECUTE:
        finish(cycle_id)
    return cycle_id


def _run_claimed(cycle: PipelineCycle, stage: Stage, started: float) -> None:
    queue_ms = max(0.0, (timezone.now() - cycle.progressed_at).total_seconds() * 1e3)
    context = StageContext(cycle=cycle, book=cycle.book, switches=switchboard.from_json(cycle.switches))
    try:
        result = _handle(context, stage)
    except Skip as skip:
        _end(cycle, Status.SKIPPED, str(skip))
        return
    except (Transient, OperationalError, InterfaceError):
        raise  # the task is tried again, a bounded number of times
    except HeliosError as error:
        _end(cycle, Status.FAILED, f"{stage.value}: {error}")
        return
    except Exception as error:  # noqa: BLE001 - a defect in a tier ends its cycle with a reason; it must not stop the book
        logger.opt(exception=True).error("tier.defect")
        _end(cycle, Status.FAILED, f"{stage.value}: {type(error).__name__}: {error}")
        return
    _pass_on(cycle, stage, result, queue_ms, (time.perf_counter() - started) * 1e3)
    if result.skip:
        _end(cycle, Status.SKIPPED, result.skip)


def _handle(context: StageContext, stage: Stage) -> StageResult:
    """Run the stage; when a version that was just switched in raises, once more with the one before it.

    The savepoint takes back all that the failed version led to, so that the stage is made of one version. The cycle is
    pinned to that one from then on; the watch itself rolls the slot back once this transaction is over.
    """
    try:
        with transaction.atomic():
            return HANDLERS[stage](context)
    except WatchedCallFailed as failure:
        cycle, previous = context.cycle, arms.fallback(context.cycle, stage)
        if not previous:
            raise
        failed = cycle.modules[stage.value]
        cycle.modules = {**cycle.modules, stage.value: previous}
        PipelineCycle.objects.filter(pk=cycle.pk).update(modules=cycle.modules)
        logger.bind(failed=failed, serves=previous, error=str(failure)).warning("tier.previous_version")
        with transaction.atomic():
            result = HANDLERS[stage](context)
        again = {"failed": failed, "serves": previous, "error": str(failure)}
        reason = "; ".join(filter(None, [str(failure), result.reason]))
        return replace(
            result, fallback="previous_version", reason=reason, summary={**result.summary, "previous_version": again}
        )


def _pass_on(cycle: PipelineCycle, stage: Stage, result: StageResult, queue_ms: float, duration_ms: float) -> None:
    moved = PipelineCycle.objects.filter(pk=cycle.pk, stage=stage, status=Status.RUNNING).update(
        stage=stage.following, progressed_at=Now(), redriven=0
    )
    if moved != 1:
        raise RuntimeError(f"cycle {cycle.pk} must be at {stage.value}, it moved while its row was locked")
    StageRun.objects.create(
        cycle=cycle,
        stage=stage,
        worker=worker_name(),
        module_version=result.version or cycle.modules.get(stage.value, ""),
        queue_ms=queue_ms,
        duration_ms=duration_ms,
        fallback=result.fallback,
        reason=result.reason,
    )
    ledger.append(cycle.book_id, cycle.pk, stage.value, {"bar_ts": cycle.bar_ts.isoformat(), **result.summary})
    if result.fallback:
        events.record(
            kind="tier.fallback",
            severity="warning",
            source=f"tiers.{stage.value}",
            subject=str(cycle),
            data={"fallback": result.fallback, "reason": result.reason},
        )
        logger.bind(fallback=result.fallback, reason=result.reason).warning("tier.fallback")


# --- end ---


def finish(cycle_id: int) -> None:
    """Send the cycle's orders and close it. Safe to repeat; one process at a time owns the sending."""
    with _owning(cycle_id) as owned:
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
        unclear = orders.flush(cycle, withhold=_no_longer(cycle))
        if unclear:
            logger.bind(cycle=cycle.pk, orders=unclear).warning("cycle.orders_unclear")
            return  # recovery comes back and asks the venue again
        with transaction.atomic():
            _end(cycle, Status.DONE, "", n_orders=cycle.n_orders)
    delivery.react(cycle)


def _no_longer(cycle: PipelineCycle) -> str:
    """Why orders that wait must not leave any more; empty when they may."""
    if late_now(cycle.book, cycle.bar_ts):
        return "the bar is too late to be traded"
    flags.refresh_if_behind()
    return "" if switchboard.read(cycle.book).auto_trading else "auto_trading is off"


def _end(cycle: PipelineCycle, status: str, reason: str, *, n_orders: int = 0) -> None:
    """Close a cycle once, on the ledger, and wake whoever waits for it."""
    closed = PipelineCycle.objects.filter(pk=cycle.pk, status=Status.RUNNING).update(
        status=status, reason=reason, finished_at=Now(), progressed_at=Now()
    )
    if closed != 1:
        return
    cycle.status = status
    last = ledger.append(cycle.book_id, cycle.pk, "end", {"status": str(status), "reason": reason})
    PipelineCycle.objects.filter(pk=cycle.pk).update(ledger_hash=last.hash)
    if status != Status.DONE:
        severity = "critical" if status == Status.FAILED else "info"
        events.record(
            kind=f"cycle.{status.lower()}",
            severity=severity,
            source="tiers.pipeline",
            subject=str(cycle),
            data={"reason": reason},
        )
    took_s = round((timezone.now() - cycle.started_at).total_seconds(), 2)
    done = {"book": cycle.book.name, "bar": cycle.bar_ts.isoformat(), "orders": n_orders, "took_s": took_s}
    logger.bind(cycle=cycle.pk, **done, status=str(status), reason=reason).info("cycle.ended")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('helios_cycles', %s)", [str(cycle.pk)])


@contextmanager
def _owning(cycle_id: int) -> Iterator[bool]:
    """A session lock that dies with its process, so that an owner that was killed never blocks the next one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK_SPACE, cycle_id % 2**31])
        owned = bool(cursor.fetchone()[0])
        try:
            yield owned
        finally:
            if owned:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_LOCK_SPACE, cycle_id % 2**31])


# --- recover ---


def recover(*, stalled_s: float) -> int:
    """Send again the chains of cycles that made no progress for `stalled_s`; returns how many.

    A stage that is still at work holds its row's lock: the message then finds the row locked and does nothing.
    Each attempt at one stage waits twice as long as the one before, up to `MAX_WAIT_S`, since a queue without a worker
    keeps its messages; after `MAX_REDRIVES` attempts without progress the cycle ends as FAILED.
    """
    now = timezone.now()
    resent = 0
    stuck = PipelineCycle.objects.filter(
        status=Status.RUNNING, progressed_at__lt=now - timedelta(seconds=stalled_s)
    ).select_related("book")
    for cycle in stuck.order_by("pk")[:100]:
        wait_s = min(stalled_s * 2**cycle.redriven, max(stalled_s, MAX_WAIT_S))
        if now - cycle.progressed_at < timedelta(seconds=wait_s):
            continue
        with transaction.atomic():
            owner = PipelineCycle.objects.select_for_update(of=("self",), skip_locked=True)
            if not owner.filter(pk=cycle.pk, status=Status.RUNNING, progressed_at=cycle.progressed_at).exists():
                continue
            if cycle.redriven >= MAX_REDRIVES:
                orders.abandon(cycle, "the cycle was given up")
                reason = f"gave up at {cycle.stage} after {cycle.redriven} attempts"
                _end(cycle, Status.FAILED, reason, n_orders=cycle.orders.count())
                continue
            PipelineCycle.objects.filter(pk=cycle.pk).update(redriven=F("redriven") + 1, progressed_at=Now())
        due = Stage(cycle.stage)
        logger.bind(cycle=cycle.pk, stage=due.value, redriven=cycle.redriven + 1).warning("cycle.redriven")
        resent += send_chain(cycle.pk, Stage.EXECUTE if due is Stage.DONE else due)
    return resent


def worker_name() -> str:
    """Where a stage ran: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def latency_table(cycle_ids: list[int]) -> dict[str, dict[str, float]]:
    """p50 and p95 in milliseconds per tier and for whole cycles, over the finished ones of `cycle_ids`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stage, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ms) "
            "FROM pipeline_stage_runs WHERE cycle_id = ANY(%s) GROUP BY stage",
            [cycle_ids],
        )
        rows: dict[str, Any] = dict(cursor.fetchall())
        cursor.execute(
            "SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - "
            "started_at) * 1000) FROM pipeline_cycles WHERE id = ANY(%s) AND status = 'DONE'",
            [cycle_ids],
        )
        whole = cursor.fetchone()[0]
    ordered = [(stage.value, rows[stage.value]) for stage in STAGES if stage.value in rows]
    if whole is not None:
        ordered.append(("cycle", whole))
    return {name: {"p50_ms": float(pair[0]), "p95_ms": float(pair[1])} for name, pair in ordered}
