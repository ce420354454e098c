"""Probes of the trading tables.

Money is read by one statement each: two would see two moments, and a fill in between would look like a theft.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from django.db import connection
from django.db.models import F, Max
from django.db.models.functions import Coalesce

from helios.errors import UNREAD
from sentinel.audits.facts import CashAccount, Chain, Mode, OpenOrder, PositionAccount, RunningCycle, Series
from sentinel.probes.bounded import bounded
from trading.books.accounting import Booked, Fill, Holding, replay
from trading.books.ledger import GENESIS, wanted_hash
from trading.books.read import last_bar
from trading.enums import ActionKind, Timeframe
from trading.market import coverage, timeframes
from trading.market.actions import Action
from trading.market.calendars import ALWAYS_OPEN, CALENDARS
from trading.models import Book, Instrument, LedgerEntry, MarketGap, MarketOHLC, Order, PipelineCycle

WINDOW_BARS: Final = 500
TAIL_ENTRIES: Final = 200
RECENT_BOOKS: Final = 50
MANY: Final = 1_000  # more open rows than this are one problem, not a thousand

_CASH = """
SELECT b.name, b.initial_cash, b.cash,
       coalesce(sum(e.notional) FILTER (WHERE e.side = 'BUY'), 0),
       coalesce(sum(e.notional) FILTER (WHERE e.side = 'SELL'), 0),
       coalesce(sum(e.fee), 0), coalesce((SELECT sum(cash) FROM booked_actions k WHERE k.book_id = b.id), 0)
FROM portfolio_state b LEFT JOIN trade_executions e ON e.book_id = b.id
GROUP BY b.id ORDER BY b.id
"""
_POSITIONS = """
WITH moves AS (
    SELECT book_id, symbol, bar_ts, 1 AS place, id, quantity, price, venue_fill_id AS name, side, notional, fee,
           NULL::timestamptz AS ex_ts, NULL::numeric AS value, NULL::numeric AS per, NULL::numeric AS remaining
    FROM trade_executions
    UNION ALL
    SELECT book_id, symbol, bar_ts, 0, id, quantity, price, kind, '', cash, NULL, ex_ts, value, per, remaining
    FROM booked_actions
)
SELECT b.name, symbol, coalesce(p.quantity, 0), coalesce(p.cost, 0), coalesce(p.realised_pnl, 0),
       coalesce(p.fees_paid, 0), coalesce(p.dividends, 0),
       m.bar_ts, m.quantity, m.price, m.name, m.side, m.notional, m.fee, m.ex_ts, m.value, m.per, m.remaining
FROM positions p FULL JOIN moves m USING (book_id, symbol) JOIN portfolio_state b ON b.id = book_id
ORDER BY book_id, symbol, m.bar_ts, m.place, m.id
"""

UNBOOKABLE = Holding(quantity=Decimal("NaN"))  # what rows make that no account can book


def live_trading() -> tuple[bool, str]:
    """Whether an active live book exists."""
    with bounded():
        return Book.objects.filter(mode=Book.Mode.LIVE, active=True).exists(), ""


def series(now: datetime) -> tuple[tuple[Series, ...], str]:
    """The newest closes of every symbol of every active book, as of the book's own clock.

    A replay's clock is the bar of its newest cycle; before the first one there is nothing to judge.
    """
    with bounded():
        found = tuple(_series(now))
    return found, f"{len(found)} series of {len({one.book for one in found})} active books"


def _series(now: datetime) -> Iterator[Series]:
    calendars = dict(Instrument.objects.filter(calendar__in=CALENDARS).values_list("symbol", "calendar"))
    known = coverage.covered(now)
    for book in Book.objects.filter(active=True).order_by("name"):
        clock = last_bar(book) if book.mode == Book.Mode.REPLAY else now
        if clock is None:
            continue
        closes = {symbol: _closes(symbol, book.timeframe, clock) for symbol in book.symbols}
        lacking = _lacking(closes)
        for symbol in book.symbols:
            yield Series(
                book=book.name,
                mode=Mode(book.mode),
                symbol=symbol,
                timeframe=book.timeframe,
                calendar=calendars.get(symbol, ALWAYS_OPEN),
                closes=closes[symbol],
                known_until=known.get(symbol),
                lacking=tuple(lacking[symbol]),
                clock=clock,
            )


def _closes(symbol: str, timeframe: str, clock: datetime) -> tuple[datetime, ...]:
    """The last closes up to `clock`, oldest first. The lower bound leaves old partitions unread."""
    bars = MarketOHLC.objects.filter(symbol=symbol, timeframe=timeframe, bar_ts__lte=clock)
    near = clock - timedelta(seconds=3 * WINDOW_BARS * timeframes.seconds(timeframe))
    newest = list(bars.filter(bar_ts__gt=near).order_by("-bar_ts").values_list("bar_ts", flat=True)[:WINDOW_BARS])
    if not newest:
        newest = list(bars.order_by("-bar_ts").values_list("bar_ts", flat=True)[:WINDOW_BARS])
    return tuple(reversed(newest))


def _lacking(closes: Mapping[str, Sequence[datetime]]) -> Mapping[str, list[tuple[datetime, datetime]]]:
    """The times (after, until] since these closes in which a venue does not have the minutes, by symbol."""
    found = defaultdict(list)
    if beginnings := [each[0] for each in closes.values() if each]:
        noted = MarketGap.objects.filter(symbol__in=closes, timeframe=Timeframe.M1, until__gt=min(beginnings))
        for symbol, after, until in noted.values_list("symbol", "after", "until"):
            found[symbol].append((after, until))
    return found


def cycles() -> tuple[tuple[RunningCycle, ...], str]:
    """Cycles that have not ended, with the end of their last stage: a redriven message is no progress."""
    running = (
        PipelineCycle.objects.filter(status=PipelineCycle.Status.RUNNING)
        .annotate(moved_at=Coalesce(Max("stage_runs__finished_at"), F("started_at")))
        .order_by("moved_at")
        .values_list("id", "book__name", "mode", "stage", "moved_at")
    )
    with bounded():
        found = tuple(
            RunningCycle(id=pk, book=book, mode=Mode(mode), stage=stage, progressed_at=moved_at)
            for pk, book, mode, stage, moved_at in running[:MANY]
        )
    return found, f"{len(found)} running"


def orders() -> tuple[tuple[OpenOrder, ...], str]:
    """Orders that wait to be sent, or whose sending has no known end, the oldest first."""
    waiting = (
        Order.objects.filter(status__in=["NEW", "SENDING", "UNKNOWN"])
        .annotate(since=Coalesce("sending_at", "created_at"))
        .order_by("since")
        .values_list("client_order_id", "book__name", "book__mode", "status", "since")
    )
    with bounded():
        found = tuple(
            OpenOrder(client_order_id=pk, book=book, mode=Mode(mode), status=status, since=since)
            for pk, book, mode, status, since in waiting[:MANY]
        )
    return found, f"{len(found)} on their way"


def cash() -> tuple[tuple[CashAccount, ...], str]:
    """Every book's cash and the sums of its fills."""
    found = tuple(
        CashAccount(book=name, initial=initial, cash=held, bought=bought, sold=sold, fees=fees, actions=actions)
        for name, initial, held, bought, sold, fees, actions in _rows(_CASH)
    )
    return found, f"{len(found)} books agree with their fills"


def positions() -> tuple[tuple[PositionAccount, ...], str]:
    """Every position and what its fills make, each booked anew: what a sale took of the cost hangs on all before."""
    rows = groupby(_rows(_POSITIONS), key=itemgetter(0, 1))
    found = tuple(_position(book, symbol, list(lines)) for (book, symbol), lines in rows)
    return found, f"{len(found)} positions agree with their fills"


def _position(book: str, symbol: str, lines: list[tuple[Any, ...]]) -> PositionAccount:
    held, cost, profit, fees, dividends = lines[0][2:7]
    moves = (_move(symbol, *line[7:]) for line in lines if line[7] is not None)
    try:
        made = replay(Decimal(0), moves).holdings.get(symbol, Holding())
    except UNREAD:  # workers write these rows, and one keeps no other position from being judged
        made = UNBOOKABLE
    return PositionAccount(
        book=book,
        symbol=symbol,
        held=held,
        by_fills=made.quantity,
        cost=cost,
        cost_by_fills=made.cost,
        profit=profit,
        profit_by_fills=made.realised_pnl,
        fees=fees,
        fees_by_fills=made.fees_paid,
        dividends=dividends,
        dividends_by_fills=made.dividends,
    )


def _move(
    symbol: str,
    bar_ts: datetime,
    quantity: Decimal,
    price: Decimal,
    name: str,
    side: str,
    money: Decimal,
    fee: Decimal,
    *of_action: Any,
) -> Fill | Booked:
    """A fill, or what a split or a dividend did: the latter has an ex-time."""
    ex_ts, value, per, remaining = of_action
    if ex_ts is None:
        return Fill(
            client_order_id=name,
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=price,
            notional=money,
            fee=fee,
            bar_ts=bar_ts,
        )
    action = Action(symbol=symbol, ex_ts=ex_ts, kind=ActionKind(name), value=value, per=per)
    return Booked(action=action, quantity=quantity, remaining=remaining, price=price, cash=money, bar_ts=bar_ts)


def ledger() -> tuple[tuple[Chain, ...], str]:
    """Whether the newest entries of the ledgers of the books that moved last hold.

    Walking whole chains takes as long as they are; `trading.books.ledger.verify` does that.
    """
    with bounded():
        recent = Book.objects.order_by("-updated_at").values_list("pk", "name")[:RECENT_BOOKS]
        found = tuple(_chain(pk, name) for pk, name in recent)
    return found, f"the last {sum(chain.checked for chain in found)} entries hold"


def _chain(book_id: int, name: str) -> Chain:
    entries = LedgerEntry.objects.filter(book_id=book_id)
    numbers = list(entries.order_by("-sequence").values_list("sequence", flat=True)[: TAIL_ENTRIES + 1])
    previous, expected, checked = GENESIS, 1, min(len(numbers), TAIL_ENTRIES)
    tail = entries.filter(sequence__in=numbers).order_by("sequence").iterator(chunk_size=10)
    if len(numbers) > TAIL_ENTRIES:
        first = next(tail)
        previous, expected = first.hash, first.sequence + 1
    for entry in tail:
        wanted = wanted_hash(previous, expected, entry)
        if (entry.sequence, entry.previous_hash, entry.hash) != (expected, previous, wanted):
            return Chain(book=name, checked=checked, broken_at=expected)
        previous, expected = entry.hash, expected + 1
    return Chain(book=name, checked=checked)


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with bounded(), connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
