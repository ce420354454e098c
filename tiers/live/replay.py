"""Replays: history, bar by bar, through the real Celery chain, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import psycopg2
from celery import current_app
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Count, F, QuerySet, Sum
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from helios import outage
from helios.db import statements
from helios.env import get_env
from helios.errors import Rejected, Transient
from tiers.live import book_params, chain, inference, latency
from trading.books import ledger
from trading.books import write as books
from trading.books.accounting import written
from trading.books.read import currency, get_book, last_bar
from trading.market import timeframes, timeline
from trading.market.feeds import read as feeds
from trading.models import Book, Feed, LedgerEntry, PipelineCycle, StageRun
from trading.models.feeds import STORED

QUEUES = ("ingest", "default", "gpu", "execution")
CHECK_EVERY_S = 1.0
ASK_S = 0.5  # workers answer within milliseconds unless the machine is busy
WORKERS_WITHIN_S = 10.0  # before a replay is refused for want of them
T = TypeVar("T")
# Not told by a notification: whoever fills the server's queue of these would keep the cycle's end from committing.
_UNTIL_IT_ENDS = """DO $$ BEGIN
    FOR n IN 1..%s LOOP
        EXIT WHEN EXISTS (SELECT FROM pipeline_cycles WHERE id = %s AND status <> 'RUNNING');
        PERFORM pg_sleep(0.001);
    END LOOP;
END $$"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A replay that can run: a book, which `stored_book` stores where it is new, and the bars it will decide on."""

    book: Book
    bars: tuple[datetime, ...]


def prepare(
    *,
    symbols: Sequence[str],
    timeframe: str,
    n_bars: int,
    first: datetime | None,
    cash: Decimal | None,
    name: str | None,
    auto_trading: bool,
    feed: Feed = STORED,
    params: Mapping[str, Any] = MappingProxyType({}),
) -> Plan:
    """Check everything that can be checked, and draft the replay's own book, with these parameters of the tiers.

    Without `first` the last `n_bars` bars are replayed. `Rejected` says what is missing: bars, a model, a name.
    """
    if n_bars < 1:
        raise Rejected(f"a replay needs at least one bar, was {n_bars}")
    timeframes.seconds(timeframe)
    symbols = books.known_instruments(symbols)
    times = timeline.bar_times(list(symbols), timeframe, first)
    wanted = times[:n_bars] if first is not None else times[-n_bars:]
    if len(wanted) < n_bars:
        raise Rejected(f"the replay needs {n_bars} bars of {', '.join(symbols)} {timeframe}, there are {len(wanted)}")
    env = get_env()
    book = Book(name="check", timeframe=timeframe, symbols=list(symbols))
    inference.model_for(book, inference.features_in_use(timeframe))
    drafted = books.draft_book(
        name or f"replay-{timezone.now():%Y%m%d-%H%M%S-%f}",
        mode=Book.Mode.REPLAY,
        timeframe=timeframe,
        symbols=symbols,
        initial_cash=cash or env.initial_cash,
        fee_bps=Decimal(str(env.fee_bps)),
        slippage_bps=Decimal(str(env.slippage_bps)),
        feed=feed,
        flag_overrides={"auto_trading": True} if auto_trading else {},
        replay_from=wanted[0],
        replay_until=wanted[-1],
        params=dict(params),
    )
    book_params.params_of(drafted)
    feeds.check(drafted)
    feeds.refuse_others(drafted, wanted[0], wanted[-1])
    return Plan(book=drafted, bars=tuple(wanted))


def resume(name: str) -> Plan:
    """What a replay that was interrupted has left to do; `Rejected` where that is nothing, or beat does it."""
    book = get_book(name)
    if book.replay_until is None or book.mode != Book.Mode.REPLAY or book.active:
        state = "active" if book.active else f"in mode {book.mode}"
        raise Rejected(f"a book to resume must be a replay's that stands still, {name!r} is {state}")
    last = last_bar(book)
    times = timeline.bar_times(book.symbols, book.timeframe, book.replay_from)
    left = tuple(ts for ts in times if ts <= book.replay_until and (last is None or ts > last))
    if not left and not book.cycles.filter(status=PipelineCycle.Status.RUNNING).exists():
        raise Rejected(f"a book to resume must have bars left, {name!r} has decided on all of its")
    return Plan(book=book, bars=left)


@contextmanager
def stored_book(plan: Plan) -> Iterator[Book]:
    """The plan's book for the length of the block, stored when it is new.

    A new one that did not come to its first cycle, whatever ended the block, is removed again; any other stays, and
    `resume` goes on with it.
    """
    new = plan.book.pk is None
    book = books.add_book(plan.book) if new else plan.book
    try:
        yield book
    except BaseException:
        if new:
            books.remove_unused(book)
        raise


def check_timeout(timeout_s: float) -> None:
    """`Rejected` unless a cycle is given time."""
    if not timeout_s > 0:
        raise Rejected(f"--timeout must be more than zero seconds, was {timeout_s:g}")


def require_workers() -> None:
    """`Rejected` names the queues on which nobody answered in time; `Transient` when the broker is away."""
    deadline, idle = time.monotonic() + WORKERS_WITHIN_S, set(QUEUES)
    while idle:
        try:
            replies = current_app.control.inspect(timeout=min(ASK_S, WORKERS_WITHIN_S)).active_queues() or {}
        except (BrokerError, ConnectionError) as error:
            raise Transient(f"the broker must be reachable for a replay, was not: {error}") from error
        idle -= {queue["name"] for listed in replies.values() for queue in listed}
        if idle and time.monotonic() >= deadline:
            named = ", ".join(queue for queue in QUEUES if queue in idle)
            raise Rejected(f"no worker listens on {named}: start the stack with `make up`, or pass --workers")


def run(
    plan: Plan,
    *,
    timeout_s: float,
    progress: Callable[[PipelineCycle], None] = lambda _: None,
    idle: Callable[[], object] = lambda: None,
) -> list[int]:
    """Start one cycle after the other and wait for each; the ids of the cycles, in order. `idle` is called meanwhile.

    A cycle that an interrupted run left is waited for first; it counts there. A database that goes away and comes back
    within `timeout_s` is waited for, too.
    """
    ids = []
    for left in plan.book.cycles.filter(status=PipelineCycle.Status.RUNNING).values_list("pk", flat=True):
        _through_outages(partial(wait_for, left, timeout_s=timeout_s, idle=idle), timeout_s, idle)
    for bar_ts in plan.bars:
        cycle = _through_outages(_Start(plan.book, bar_ts), timeout_s, idle)
        ids.append(cycle.pk)
        progress(_through_outages(partial(wait_for, cycle.pk, timeout_s=timeout_s, idle=idle), timeout_s, idle))
    return ids


class _Start:
    """Starts the cycle of a bar. Called again, it first looks whether the one before came through after all."""

    def __init__(self, book: Book, bar_ts: datetime) -> None:
        self._book, self._bar_ts, self._tried = book, bar_ts, False

    def __call__(self) -> PipelineCycle:
        made = self._book.cycles.filter(bar_ts=self._bar_ts).first() if self._tried else None
        self._tried = True
        cycle = made or chain.start(self._book, self._bar_ts)
        if cycle is None:
            raise Rejected(f"book {self._book.name!r} has a cycle for {self._bar_ts.isoformat()} already")
        return cycle


def _through_outages(work: Callable[[], T], timeout_s: float, idle: Callable[[], object]) -> T:
    """Do what asks the database; when it goes away meanwhile, do it again once it answers."""
    while True:
        try:
            return work()
        except (DatabaseError, psycopg2.Error, Transient) as error:
            if not outage.report(error, during="a replay"):
                raise
            connection.close()
            deadline = time.monotonic() + timeout_s
            while not outage.POSTGRES.wait_over(CHECK_EVERY_S):
                idle()
                if time.monotonic() > deadline:
                    raise


def wait_for(cycle_id: int, *, timeout_s: float, idle: Callable[[], object] = lambda: None) -> PipelineCycle:
    """The cycle once it is over; chains that were lost on the way are sent again.

    `Transient` when it has not ended within `timeout_s`; the cycle goes on without us.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        idle()
        left = deadline - time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(_UNTIL_IT_ENDS, [int(1_000 * min(CHECK_EVERY_S, max(left, 0))), cycle_id])
        cycle = PipelineCycle.objects.get(pk=cycle_id)
        if cycle.status != PipelineCycle.Status.RUNNING:
            return cycle
        if left <= 0:
            raise Transient(f"cycle {cycle_id} must end within {timeout_s:g} s, it is still at {cycle.stage}")
        chain.recover(stalled_s=get_env().stalled_cycle_s)


def _largest_fall(book_id: int) -> float:
    """From the highest equity so far, whoever resumed the book meanwhile: a share of it."""
    rows = statements.fetch("SELECT max_drawdown FROM v_portfolio_performance WHERE book_id = %s", [book_id])
    return float(rows[0][0]) if rows else 0.0


def _n_seen(cycles: QuerySet[PipelineCycle]) -> int:
    """Those on whose bar a model spoke that was trained on it, or later."""
    spoke = cycles.filter(predictions__p_hold__isnull=False, predictions__model__trained_to__gte=F("bar_ts"))
    return spoke.distinct().count()


def summary(book_id: int, cycle_ids: list[int], *, elapsed_s: float) -> dict[str, Any]:
    """What a replay did: counts, latencies, orders, fills and the book's final figures."""
    book = Book.objects.get(pk=book_id)
    cycles = PipelineCycle.objects.filter(pk__in=cycle_ids)
    by_status = dict(cycles.values_list("status").annotate(n=Count("pk")).order_by())
    fallbacks = StageRun.objects.filter(cycle__in=cycle_ids).exclude(fallback="")
    executions = book.executions.aggregate(n=Count("pk"), fees=Sum("fee"), notional=Sum("notional"))
    last = book.snapshots.order_by("-bar_ts").first()
    equity = last.equity if last else book.cash
    return {
        "book": book.name,
        "symbols": book.symbols,
        "timeframe": book.timeframe,
        "state": book.state,
        "first_bar": book.replay_from.isoformat() if book.replay_from else None,
        "last_bar": last.bar_ts.isoformat() if last else None,
        "cycles": {"run": len(cycle_ids), **{status.lower(): n for status, n in by_status.items()}},
        "latency": latency.latency_table(cycle_ids),
        "orders": {
            "total": book.orders.count(),
            **{s.lower(): n for s, n in book.orders.values_list("status").annotate(n=Count("pk")).order_by()},
        },
        "fills": executions["n"],
        "fees_paid": written(executions["fees"] or Decimal(0)),
        "traded_notional": written(executions["notional"] or Decimal(0)),
        "currency": currency(book) or None,
        "initial_cash": written(book.initial_cash),
        "cash": written(book.cash),
        "final_equity": written(equity),
        "total_return_pct": float(equity / book.initial_cash - 1) * 100,
        "max_drawdown_pct": _largest_fall(book_id) * 100,
        "bars_seen_in_training": _n_seen(book.cycles.all()),  # as the return is that of all of them
        "fallbacks": dict(fallbacks.values_list("fallback").annotate(n=Count("pk")).order_by()),
        "ledger": {
            "entries": LedgerEntry.objects.filter(book=book).count(),
            "intact": ledger.verify(book.pk) is None,
        },
        "elapsed_s": elapsed_s,
    }
