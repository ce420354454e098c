"""Splits and dividends that come due on a paper book: which, at which bar, and what is written of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from helios.db import statements
from trading.books.accounting import Booked, exact
from trading.enums import ActionKind
from trading.market.actions import Action
from trading.models import Book, BookedAction

# An action is of the shares that were held when it came: none of them was bought, or sold, since. Each is booked once.
_DUE = """
    SELECT b.bar_ts, b.open, a.symbol, a.ex_ts, a.kind, a.value, a.per,
           a.ex_ts >= coalesce(filled.bar_ts, '-infinity') AND NOT EXISTS (
               SELECT FROM booked_actions k
               WHERE k.book_id = %s AND (k.symbol, k.ex_ts, k.kind) = (a.symbol, a.ex_ts, a.kind)
           )
    FROM unnest(%s::text[], %s::timestamptz[]) AS mine(symbol, ordered)
    LEFT JOIN LATERAL (
        SELECT max(bar_ts) AS bar_ts FROM trade_executions WHERE book_id = %s AND symbol = mine.symbol
    ) filled ON true
    JOIN corporate_actions a
        ON a.symbol = mine.symbol AND a.ex_ts >= least(filled.bar_ts, mine.ordered) AND a.ex_ts < %s
    CROSS JOIN LATERAL (
        SELECT bar_ts, open FROM market_ohlc m
        WHERE m.symbol = a.symbol AND m.timeframe = %s AND m.bar_ts > a.ex_ts AND m.bar_ts <= %s
        ORDER BY m.bar_ts LIMIT 1
    ) b
    ORDER BY a.ex_ts, a.kind
"""

_MISSED = """
    SELECT b.name, a.ex_ts, a.kind, a.value, a.per
    FROM corporate_actions a CROSS JOIN portfolio_state b JOIN LATERAL (
        SELECT sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) FILTER (WHERE bar_ts <= a.ex_ts) AS before,
               max(bar_ts) AS last
        FROM trade_executions WHERE book_id = b.id AND symbol = a.symbol
    ) traded ON traded.before <> 0 AND traded.last > a.ex_ts
    WHERE a.symbol = %s AND b.mode <> 'live' AND NOT EXISTS (
        SELECT FROM booked_actions k
        WHERE k.book_id = b.id AND (k.symbol, k.ex_ts, k.kind) = (a.symbol, a.ex_ts, a.kind)
    ) ORDER BY b.name, a.ex_ts, a.kind
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An action with the open of the first bar without it; one that is not new only ends orders of before."""

    action: Action
    price: Decimal
    is_new: bool


def due_actions(book: Book, bar_ts: datetime, ordered: Mapping[str, datetime | None]) -> dict[datetime, list[Due]]:
    """What came due up to `bar_ts`, by the close of the first bar without it.

    `ordered` names the symbols that are held or ordered and have actions, with the bar of the first order that waits.
    """
    if not ordered:
        return {}
    symbols = list(ordered)
    rows = statements.fetch(
        _DUE, [book.pk, symbols, [ordered[each] for each in symbols], book.pk, bar_ts, book.timeframe, bar_ts]
    )
    found: defaultdict[datetime, list[Due]] = defaultdict(list)
    for moment, opened, symbol, ex_ts, kind, value, per, is_new in rows:
        action = Action(symbol=symbol, ex_ts=ex_ts, kind=ActionKind(kind), value=value, per=per)
        found[moment].append(Due(action=action, price=exact(opened), is_new=is_new))
    return found


def missed(symbol: str) -> list[tuple[str, Action]]:
    """Actions that no paper book can book any more that held the symbol when they came, and traded it since."""
    rows = statements.fetch(_MISSED, [symbol])
    return [
        (name, Action(symbol=symbol, ex_ts=ex_ts, kind=ActionKind(kind), value=value, per=per))
        for name, ex_ts, kind, value, per in rows
    ]


def rows_of(book: Book, booked: Iterable[Booked]) -> list[BookedAction]:
    """What is kept of what was booked."""
    return [
        BookedAction(
            book=book,
            symbol=each.symbol,
            ex_ts=each.action.ex_ts,
            kind=each.action.kind.value,
            value=each.action.value,
            per=each.action.per,
            quantity=each.quantity,
            remaining=each.remaining,
            price=each.price,
            cash=each.cash,
            bar_ts=each.bar_ts,
        )
        for each in booked
    ]
