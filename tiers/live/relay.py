"""From the ledger to the event bus: what books decide and do, told in the order in which it is written there.

Nothing of it costs a cycle anything: the relay reads what is committed. How far it has told each book's ledger is kept
beside the streams and moves with what it tells, so that nothing is told twice or left out, whoever is killed. A bus
that has lost everything is told the newest entries of each book anew.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import accumulate
from typing import Any, Final, cast

from django.conf import settings
from django.db import close_old_connections
from django.db.models import QuerySet
from loguru import logger

from helios.breakers import breaker
from helios.db import statements
from helios.errors import UNREAD, error_text
from helios.events.bus import Bus, Event
from helios.redis_client import connect
from tiers.live.work_lock import WorkLock
from trading.events import KINDS, RiskEvent, SignalEvent, TradeEvent
from trading.models import LedgerEntry, MLPrediction, Order, PipelineCycle, RiskDecision

STEP_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
TIMEOUT_S: Final = 5.0
AT_ONCE: Final = 200  # entries of a book
MOST_BYTES: Final = 4 << 20  # of entries, and of the rows that they are about, as text; a single entry may be longer
MOST_ROWS: Final = 20_000  # of an entry that are told; one with so many is told by itself
ANEW: Final = 1_000  # entries of a book, to a bus that knows nothing of it
_OF: Final = ("mode", "timeframe", "bar_ts", "book__name")  # of a cycle
FORECAST: Final = ("symbol", "signal", "p_sell", "p_hold", "p_buy", "horizon_bars")
_OF_CYCLE: Final = """(
    SELECT coalesce(sum(256 + octet_length(told::text)), 0)
    FROM (SELECT * FROM {table} WHERE cycle_id = e.cycle_id LIMIT {most}) told
)"""
# Workers write all of it, and memory has an end. One entry of each book after the other, so that none is measured of
# which there is no telling yet; those of one book, however long, keep no other book's waiting.
_BEHIND: Final = f"""
    WITH RECURSIVE behind AS (
        SELECT book, sequence, 0::bigint AS id, 0::bigint AS size, 0::bigint AS total, 0 AS place
        FROM unnest(%s::bigint[], %s::int[]) AS reached(book, sequence)
        UNION ALL
        SELECT b.book, l.sequence, l.id, l.size, b.total + l.size, b.place + 1
        FROM behind b CROSS JOIN LATERAL (
            SELECT id, sequence, octet_length(payload::text) + CASE kind
                WHEN 'predict' THEN {_OF_CYCLE.format(table="ml_predictions", most=MOST_ROWS)}
                WHEN 'risk' THEN {_OF_CYCLE.format(table="aether_risk_decisions", most=1)}
                WHEN 'end' THEN {_OF_CYCLE.format(table="orders", most=MOST_ROWS)}
                ELSE 0
            END AS size
            FROM decision_ledger e WHERE e.book_id = b.book AND e.sequence > b.sequence ORDER BY e.sequence LIMIT 1
        ) l
        WHERE b.place < %s AND b.total < %s
    )
    SELECT id, size FROM behind WHERE place > 0 ORDER BY place, size, book
"""  # noqa: S608 - no input
_NEWEST: Final = """
    SELECT b.id, l.sequence FROM portfolio_state b CROSS JOIN LATERAL (
        SELECT sequence FROM decision_ledger WHERE book_id = b.id ORDER BY sequence DESC LIMIT 1
    ) l
"""


def bus() -> Bus:
    """The event bus of this installation, behind the breaker `redis_cache`."""
    client = connect(settings.REDIS_URL, timeout_s=TIMEOUT_S)
    guard = partial(breaker, "redis_cache", record_if=_is_outage)
    return Bus(client, KINDS, guard=guard)


def _is_outage(error: Exception) -> bool:
    """Whether Redis is to blame: an answer that is an error says that we asked wrongly."""
    from redis import ResponseError  # noqa: PLC0415 - see helios.redis_client

    return not isinstance(error, ResponseError)


def keep_telling(stop: threading.Event) -> None:
    """Relay until told to stop, from one process of an installation at a time. What fails is tried again."""
    alone, relay, pause_s = WorkLock("relay"), Relay(bus()), STEP_S
    while not stop.wait(pause_s):
        try:
            pause_s = 0.0 if alone.hold(["ledger"]) and relay.step() else STEP_S
        except Exception as error:  # noqa: BLE001 - nobody else tells what happens
            logger.bind(error=error_text(error)).warning("relay.not_told")
            pause_s = min(max(2 * pause_s, STEP_S), LONGEST_PAUSE_S)
        finally:
            close_old_connections()
    alone.close()


@dataclass(frozen=True, slots=True)
class Relay:
    """Tells a bus what is new on the ledgers."""

    bus: Bus

    def step(self) -> int:
        """Tell what came since the last step, a part of it if it is much; how many entries were read."""
        newest = statements.fetch(_NEWEST, [])
        marks = self.bus.marks([f"ledger:{book}" for book, _ in newest])  # workers reach them, too
        told = ((book, last, _told(mark, last)) for (book, last), mark in zip(newest, marks, strict=True))
        behind = {book: reached for book, last, reached in told if reached < last}
        found = statements.fetch(_BEHIND, [list(behind), list(behind.values()), AT_ONCE, MOST_BYTES])
        if not found:
            return 0
        numbers, sizes = zip(*found, strict=True)
        n = max(1, bisect_right(list(accumulate(sizes)), MOST_BYTES))
        entries = list(
            LedgerEntry.objects.filter(pk__in=numbers[:n])
            .select_related("cycle", "cycle__book")
            .only("book_id", "sequence", "kind", "payload", *(f"cycle__{name}" for name in _OF))
            .order_by("book_id", "sequence")
        )
        reached = {f"ledger:{entry.book_id}": str(entry.sequence) for entry in entries}
        self.bus.publish(events_of(entries), marks=reached)
        return len(entries)


def _told(mark: str, last: int) -> int:
    """Up to where a book of so many entries was told; a mark that no relay has left says nothing."""
    known = mark.isascii() and mark.isdigit() and len(mark) < 20 and int(mark) <= last
    return int(mark) if known else max(0, last - ANEW)


def events_of(entries: Sequence[LedgerEntry]) -> list[Event]:
    """What entries of ledgers say, in their order; each kind of row is read once for all of them."""
    readers: dict[str, Callable[[list[LedgerEntry]], dict[int, list[Event]]]] = {
        "predict": _signals,
        "risk": _risks,
        "ingest": _fills,
        "end": _orders,
    }
    found: dict[int, list[Event]] = {}
    for kind, reader in readers.items():
        of_kind = [entry for entry in entries if entry.kind == kind and entry.cycle is not None]
        if of_kind:
            found |= reader(of_kind)
    return [event for entry in entries for event in found.get(entry.pk, ())]


def _of(entry: LedgerEntry) -> dict[str, Any]:
    cycle = cast("PipelineCycle", entry.cycle)  # a stage's entry has one
    names = {"book": cycle.book.name, "mode": cycle.mode, "cycle": cycle.pk}
    return {**names, "timeframe": cycle.timeframe, "bar_ts": cycle.bar_ts}


def _by_cycle(
    entries: list[LedgerEntry], rows: QuerySet[Any], event: Callable[[dict[str, Any], Any], Event]
) -> dict[int, list[Event]]:
    of_cycle = {entry.cycle_id: entry for entry in entries}
    found: dict[int, list[Event]] = {}
    for row in rows.filter(cycle__in=of_cycle)[:MOST_ROWS]:
        entry = of_cycle[row.cycle_id]
        try:
            told = event(_of(entry), row)
        except UNREAD as error:
            _unreadable(row, error_text(error))
            continue
        found.setdefault(entry.pk, []).append(told)
    return found


def _signals(entries: list[LedgerEntry]) -> dict[int, list[Event]]:
    def event(of: dict[str, Any], row: MLPrediction) -> Event:
        return SignalEvent(**of, **{name: getattr(row, name) for name in FORECAST})

    return _by_cycle(entries, MLPrediction.objects.only("cycle", *FORECAST).order_by("pk"), event)


def _risks(entries: list[LedgerEntry]) -> dict[int, list[Event]]:
    def event(of: dict[str, Any], row: RiskDecision) -> Event:
        weights = dict(zip(row.symbols, row.max_weight, strict=True))
        return RiskEvent(**of, state=row.state, leverage=row.leverage, max_weight=weights, denials=row.denials)

    told = RiskDecision.objects.only("cycle", "state", "leverage", "symbols", "max_weight", "denials")
    return _by_cycle(entries, told, event)


def _orders(entries: list[LedgerEntry]) -> dict[int, list[Event]]:
    def event(of: dict[str, Any], row: Order) -> Event:
        said = {"client_order_id": row.client_order_id, "symbol": row.symbol, "side": row.side, "status": row.status}
        return TradeEvent(**of, kind="order", quantity=row.quantity, **said)

    told = Order.objects.only("cycle", "client_order_id", "symbol", "side", "status", "quantity").order_by("pk")
    return _by_cycle(entries, told, event)


def _fills(entries: list[LedgerEntry]) -> dict[int, list[Event]]:
    """Fills are booked by the next cycle that ingests, which is a later one than that of their order."""
    told = [(entry, fill) for entry in entries for fill in _told_fills(entry)]
    names = [name for _, (name, *_) in told]
    symbols = dict(Order.objects.filter(client_order_id__in=names).values_list("client_order_id", "symbol"))
    found: dict[int, list[Event]] = {}
    for entry, (name, side, *amounts) in told:
        try:
            quantity, price, fee = map(Decimal, amounts)
            said = {"client_order_id": name, "symbol": symbols[name], "side": side}
            event = TradeEvent(**_of(entry), kind="fill", quantity=quantity, price=price, fee=fee, **said)
        except UNREAD as error:
            _unreadable(entry, error_text(error))
            continue
        found.setdefault(entry.pk, []).append(event)
    return found


def _told_fills(entry: LedgerEntry) -> list[list[str]]:
    """Name, side, quantity, price and fee of each; none where the entry is no list of them."""
    fills = entry.payload.get("fills", []) if isinstance(entry.payload, dict) else None
    if isinstance(fills, list) and len(fills) <= MOST_ROWS and all(_is_fill(one) for one in fills):
        return fills
    _unreadable(entry, f"its fills must be {MOST_ROWS} lists of five texts at most")
    return []


def _is_fill(told: Any) -> bool:
    return isinstance(told, list) and len(told) == 5 and all(isinstance(each, str) for each in told)


def _unreadable(row: Any, why: str) -> None:
    """Workers write these rows, and one is no reason to tell nothing."""
    logger.bind(row=str(row), error=why).error("relay.unreadable")
