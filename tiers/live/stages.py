"""One stage of a cycle: claimed, run and passed on once, whatever is redelivered or killed; and the end of a cycle.

A stage runs in one transaction: it writes its output, its `StageRun` and its ledger entry, compares and sets
`cycle.stage`, and commits them together. A worker that dies leaves the row as it was; a message that comes twice finds
the stage passed and hands the id on. A session lock keeps a second worker from the same stage. The cycle's row is
locked only when a stage has nothing left but to move on: whoever ends a cycle waits for no module, whose answer is then
dropped.

A stage that may wait on a network (`handlers.WAITS`) does its work before that transaction, which only writes. A worker
that dies in between has written nothing, and the call is made again.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from django.db import transaction
from django.utils import timezone
from loguru import logger
from psycopg2.extras import Json

from helios import breakers, events, flags
from helios.control import generations
from helios.db import statements
from helios.db.failures import UNAVAILABLE
from helios.errors import error_text, plain
from helios.liveness import told_to_end
from helios.modules import process as modules
from helios.modules import watch
from helios.modules.errors import WatchedCallDelayed, WatchedCallFailed
from tiers.challenge import arms
from tiers.challenge.pins import react
from tiers.contracts.errors import HeliosError, Transient
from tiers.contracts.switches import from_json
from tiers.live import claims, cycle_flags
from tiers.live.claims import Claim
from tiers.live.handlers import HANDLERS, WAITS
from tiers.live.lateness import ask_limit_s, asked_too_long, late_now
from tiers.live.stage_context import Skip, StageContext, StageResult
from trading.books import ledger
from trading.models import Book, PipelineCycle, Stage, StageRun
from trading.orders import cycle_end, order_claims, outbox

Status = PipelineCycle.Status
_MOVE = """
    UPDATE pipeline_cycles SET stage = %s, progressed_at = statement_timestamp(), redriven = 0, tries = 0,
        asked_at = NULL, modules = %s
    WHERE id = %s AND stage = %s AND status = 'RUNNING' RETURNING id
"""


def run_stage(cycle_id: int, stage: Stage, *, tried: int = 0) -> int:
    """Run one stage of a cycle if it is due; returns the id for the next task of the chain.

    `tried`: how often its task was tried before.
    """
    started = time.perf_counter()
    try:
        with logger.contextualize(cycle=cycle_id, tier=stage.value):
            cycle = _run(cycle_id, stage, started, tried)
    finally:
        watch.flush()  # a version that failed leaves its slot, whatever else failed
    if cycle is not None and cycle.status != Status.RUNNING:
        react(cycle)
    if stage is Stage.EXECUTE:
        finish(cycle_id)
    return cycle_id


def _run(cycle_id: int, stage: Stage, started: float, tried: int) -> PipelineCycle | None:
    """Run the stage; when a version that was just switched in raises, once more with the one before it.

    What raises has written nothing, so that a stage is made of one version. None where the stage was not due.
    """
    attempt = partial(_attempt_waiting if stage in WAITS else _attempt, cycle_id, stage, started, tried)
    try:
        try:
            return attempt(after=None)
        except WatchedCallFailed as failure:
            return attempt(after=failure)
    except Skip as skip:
        status, reason = Status.SKIPPED, error_text(skip)
    except UNAVAILABLE:
        raise  # the task is tried again, a bounded number of times
    except Transient:
        claims.asked(cycle_id, stage)  # likewise, and for a bounded time
        raise
    except BaseException as error:  # a defect in a tier ends its cycle with a reason, and stops no book
        if told_to_end(error):
            raise
        if not issubclass(type(error), HeliosError):
            logger.opt(exception=plain(error)).error("tier.defect")
        status, reason = Status.FAILED, f"{stage.value}: {error_text(error)}"
    with transaction.atomic():
        claim = claims.locked(cycle_id, stage)
        if claim is not None:
            end(claim.cycle, status, reason, claim=claim)
    return None if claim is None else claim.cycle


def _attempt(
    cycle_id: int, stage: Stage, started: float, tried: int, *, after: WatchedCallFailed | None
) -> PipelineCycle | None:
    """One try at a stage that is due, `after` a failed one with the version before. Raises what the stage raises."""
    with claims.owned(cycle_id, stage) as claim:
        if claim is None:
            return None
        if after is None:
            claims.count_try(claim)
        with transaction.atomic():
            if not _pass_on(claim, stage, _work(claim, stage, tried, after), started):
                transaction.set_rollback(True)  # it was ended meanwhile
                return None
    return claim.cycle


def _attempt_waiting(
    cycle_id: int, stage: Stage, started: float, tried: int, *, after: WatchedCallFailed | None
) -> PipelineCycle | None:
    """The same for a stage that may wait on a network: its transaction begins when it has nothing to wait for."""
    with claims.owned(cycle_id, stage) as claim:
        if claim is None:
            return None
        if after is None:
            claims.count_try(claim)
        breakers.refresh_if_behind(claim.generations["breakers"])
        result = _work(claim, stage, tried, after)
        if result.one_statement:
            return claim.cycle if _pass_on(claim, stage, result, started) else None
        with transaction.atomic():
            if not claims.still_due(claim.cycle):
                return None
            _pass_on(claim, stage, result, started)
    return claim.cycle


def _work(claim: Claim, stage: Stage, tried: int, after: WatchedCallFailed | None) -> StageResult:
    """What the stage says; `after` a failure with the version before, to which the cycle is pinned from then on.

    The watch itself rolls the slot back once the stage is over. Raises the failure where there is no version before.
    """
    modules.refresh_if_behind(claim.generations["modules"])
    cycle = claim.cycle
    cycle.tries = max(cycle.tries, tried)
    after = after or arms.rolled_back(cycle, stage)
    if after is None:
        return _handled(claim, stage, tried)
    slot = Stage(after.name)  # a stage asks parts of other tiers, too: bars that they look back on, what they enforce
    previous = arms.fallback_version(cycle, slot)
    if not previous:
        raise after
    failed = cycle.modules[slot.value]
    cycle.modules = {**cycle.modules, slot.value: previous}
    why = error_text(after)
    logger.bind(failed=failed, serves=previous, error=why).warning("tier.previous_version")
    result = _handled(claim, stage, tried)
    again = {"failed": failed, "serves": previous, "error": why}
    reason = "; ".join(filter(None, [why, result.reason]))
    return replace(
        result, fallback="previous_version", reason=reason, summary={**result.summary, "previous_version": again}
    )


def _handled(claim: Claim, stage: Stage, tried: int) -> StageResult:
    """What the handler says. What may succeed when it is made again has failed once it has asked for that too long; a
    watched call after enough tries, too.
    """
    cycle = claim.cycle
    try:
        return HANDLERS[stage](_context(claim))
    except WatchedCallDelayed as delay:
        if tried < arms.PATIENCE and not asked_too_long(cycle):
            raise Transient(error_text(delay)) from None
        watch.failed(delay.swap_id, error_text(delay))
        raise
    except Transient as delay:
        if not asked_too_long(cycle):
            raise
        limit_s = ask_limit_s(cycle)
        raise HeliosError(f"asked to be tried again for more than {limit_s:g} s: {error_text(delay)}") from None


def _context(claim: Claim) -> StageContext:
    cycle = claim.cycle
    return StageContext(
        cycle=cycle,
        book=cycle.book,
        instruments=claim.instruments,
        switches=from_json(cycle.switches),
    )


def _pass_on(claim: Claim, stage: Stage, result: StageResult, started: float) -> bool:
    """Write what the stage made, move the cycle on and put both on the ledger; False where it had moved already."""
    cycle = claim.cycle
    written = {} if result.write is None else result.write(cycle)
    duration_ms = (time.perf_counter() - started) * 1e3
    queue_ms = (timezone.now() - cycle.progressed_at).total_seconds() * 1e3 - duration_ms
    run = StageRun(
        cycle=cycle,
        stage=stage,
        worker=worker_name(),
        module_version=result.version or cycle.modules.get(stage.value, ""),
        queue_ms=max(0.0, queue_ms),
        duration_ms=duration_ms,
        fallback=result.fallback,
        reason=result.reason,
        finished_at=timezone.now(),
    )
    payload = {"bar_ts": cycle.bar_ts.isoformat(), **result.summary, **written}
    entry = ledger.draft(cycle.book_id, cycle.pk, stage.value, payload, head=claim.head)
    move = (
        _MOVE,
        [stage.following.value, Json(cycle.modules), cycle.pk, stage.value],
    )
    if not statements.change(move, [*result.rows, run, entry], also=[*_unlocking(claim), (statements.REPEATABLE, ())]):
        return False
    claim.unlock = None
    if result.fallback:
        events.record(
            kind="tier.fallback",
            severity="warning",
            source=f"tiers.{stage.value}",
            subject=str(cycle),
            data={"fallback": result.fallback, "reason": result.reason},
        )
        logger.bind(fallback=result.fallback, reason=result.reason).warning("tier.fallback")
    if result.skip:
        claim.head = ledger.Head(entry.sequence, entry.hash)
        end(cycle, Status.SKIPPED, result.skip, claim=claim)
    return True


def _unlocking(claim: Claim) -> list[statements.Part]:
    """What the last statement about a claimed cycle gives back: its lock."""
    return [] if claim.unlock is None else [claim.unlock]


# --- end ---


def finish(cycle_id: int) -> None:
    """Send the cycle's orders and close it. Safe to repeat; one process at a time owns the sending."""
    with claims.owned(cycle_id, Stage.DONE) as claim:
        if claim is None:
            return
        cycle = claim.cycle
        breakers.refresh_if_behind(claim.generations["breakers"])
        flags.refresh_if_behind(claim.generations["flags"])
        unclear = outbox.flush(cycle, permission=_Permission(cycle.bar_ts))
        if unclear:
            logger.bind(cycle=cycle.pk, orders=unclear).warning("cycle.orders_unclear")
            return  # recovery comes back, asks the venue again and sends what waits
        end(cycle, Status.DONE, "", claim=claim)
    react(cycle)


@dataclass(frozen=True, slots=True)
class _Permission(order_claims.Permission):
    """Whether the orders of a bar may still leave. A book that was stopped still carries out the cycle that runs:
    `active` speaks of new cycles only.
    """

    bar_ts: datetime

    def refusal(self, book: Book) -> str:
        if late_now(book, self.bar_ts):
            return "the bar is too late to be traded"
        return "" if cycle_flags.read(book, symbols=()).auto_trading else "auto_trading is off"

    def unchanged(self) -> statements.Part:
        return generations.unchanged("flags", flags.snapshot().state)

    def refresh(self) -> None:
        flags.refresh_if_behind()


def end(cycle: PipelineCycle, status: str, reason: str, *, claim: Claim) -> None:
    """Close a claimed cycle, with the last statement about it."""
    if cycle_end.end(cycle, status, reason, head=claim.head, also=_unlocking(claim)):
        claim.unlock = None


def worker_name() -> str:
    """Where a stage ran: host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"
