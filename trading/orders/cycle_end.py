"""The end of a cycle: once, on the ledger; and a cycle that is given up."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils import timezone
from loguru import logger

from helios import events
from helios.db import locks, statements
from helios.errors import NotFound, Rejected
from trading.books import ledger
from trading.models import PipelineCycle, Stage
from trading.orders import outbox

Status = PipelineCycle.Status
_CLOSE = """
    UPDATE pipeline_cycles SET status = %s, reason = %s, finished_at = statement_timestamp(),
    progressed_at = statement_timestamp(), ledger_hash = %s WHERE id = %s AND status = 'RUNNING' RETURNING id
"""


def end(
    cycle: PipelineCycle,
    status: str,
    reason: str,
    *,
    head: ledger.Head | None = None,
    actor: str = "",
    also: Sequence[statements.Part] = (),
) -> bool:
    """Close a cycle; False where it had ended already. `also` are evaluated with the statement that closes it."""
    said = {"status": str(status), "reason": reason} | ({"actor": actor} if actor else {})
    entry = ledger.draft(cycle.book_id, cycle.pk, "end", said, head=head)
    close = (_CLOSE, [str(status), reason, entry.hash, cycle.pk])
    if not statements.change(close, [entry], also=[*also, (statements.REPEATABLE, ())]):
        return False
    cycle.status = status
    if status != Status.DONE:
        events.record(
            kind=f"cycle.{status.lower()}",
            severity="critical" if status == Status.FAILED else "info",
            source="tiers.live",
            subject=str(cycle),
            data={"reason": reason},
        )
    took_s = round((timezone.now() - cycle.started_at).total_seconds(), 2)
    n_orders = len(cycle.orders.all()) if cycle.stage == Stage.DONE else 0
    done = {"book": cycle.book.name, "bar": cycle.bar_ts.isoformat(), "orders": n_orders, "took_s": took_s}
    why = {"reason": reason} if reason else {}
    logger.bind(cycle=cycle.pk, **done, status=str(status), **why).info("cycle.ended")
    return True


def give_up(cycle: PipelineCycle, why: str, *, actor: str = "") -> None:
    """End a cycle whose row is locked, as FAILED: what it has not sent is withheld for good.

    What may have left keeps its unclear fate: recovery goes on to ask the venue about it.
    """
    outbox.abandon(cycle)
    unclear = [f"{order.client_order_id} is still {order.status}" for order in outbox.unsettled(cycle)]
    end(cycle, Status.FAILED, "; ".join([why, *unclear]), actor=actor)


def end_for(number: int, *, actor: str, reason: str) -> PipelineCycle:
    """Give up a cycle that runs, for a person; one that has ended stays as it is.

    Raises `NotFound`, `Rejected` without a reason, and `Conflict` while somebody holds its row.
    """
    if not reason.strip():
        raise Rejected(f"cycle {number} is ended for a reason only, none given")
    with locks.changing(f"cycle {number}"):
        cycle = _locked(number)
        if cycle.status == Status.RUNNING:
            give_up(cycle, f"ended by {actor} at {cycle.stage}: {reason}", actor=actor)
    return cycle


def _locked(number: int) -> PipelineCycle:
    found = PipelineCycle.objects.select_for_update(of=("self",)).select_related("book").filter(pk=number).first()
    if found is None:
        raise NotFound(f"no cycle has the number {number}")
    return found
