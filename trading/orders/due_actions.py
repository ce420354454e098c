"""Splits and dividends that come due on a paper book: which, at which bar, and what is written of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from helios.db import statements
from trading.books.accounting import Booked, exact
from trading.enums import ActionKind
from trading.market.actions import Action
from trading.models import Book, BookedAction

# What was booked is the stored action of its kind that is nearest to its day: itself, or one whose day was corrected.
# The dividend of another quarter is not: it is more than 31 days away.
_NEAREST = """
    (a.symbol, a.kind) = (k.symbol, k.kind)
    AND a.ex_ts BETWEEN k.ex_ts - interval '31 days' AND k.ex_ts + interval '31 days' AND NOT EXISTS (
        SELECT FROM corporate_actions c WHERE (c.symbol, c.kind) = (k.symbol, k.kind)
        AND (abs(extract(epoch FROM c.ex_ts - k.ex_ts)), c.ex_ts)
            < (abs(extract(epoch FROM a.ex_ts - k.ex_ts)), a.ex_ts)
    )
"""
_CHANGES = """(
        SELECT book_id, symbol, bar_ts, CASE side WHEN 'BUY' THEN quantity ELSE -quantity END AS change
        FROM trade_executions UNION ALL
        SELECT book_id, symbol, bar_ts, remaining - quantity FROM booked_actions WHERE kind = 'split'
    ) changes"""
# An action is of the shares that were held when it came: none was bought, sold or split since. Each is booked once.
_DUE = f"""
    SELECT b.bar_ts, b.open, a.symbol, a.ex_ts, a.kind, a.value, a.per,
           a.ex_ts >= coalesce(changed.bar_ts, '-infinity')
           AND NOT EXISTS (SELECT FROM booked_actions k WHERE k.book_id = %s AND {_NEAREST})
    FROM unnest(%s::text[], %s::timestamptz[]) AS mine(symbol, ordered)
    LEFT JOIN LATERAL (
        SELECT max(bar_ts) AS bar_ts FROM {_CHANGES} WHERE book_id = %s AND symbol = mine.symbol
    ) changed ON true
    JOIN corporate_actions a
        ON a.symbol = mine.symbol AND a.ex_ts >= least(changed.bar_ts, mine.ordered) AND a.ex_ts < %s
    CROSS JOIN LATERAL (
        SELECT bar_ts, open FROM market_ohlc m
        WHERE m.symbol = a.symbol AND m.timeframe = %s AND m.bar_ts > a.ex_ts AND m.bar_ts <= %s
        ORDER BY m.bar_ts LIMIT 1
    ) b
    ORDER BY a.ex_ts, a.kind
"""  # noqa: S608 - a constant of this module

_MISSED = f"""
    SELECT b.name, a.ex_ts, a.kind, a.value, a.per
    FROM corporate_actions a CROSS JOIN portfolio_state b JOIN LATERAL (
        SELECT sum(change) FILTER (WHERE bar_ts <= a.ex_ts) AS before, max(bar_ts) AS last
        FROM {_CHANGES} WHERE book_id = b.id AND symbol = a.symbol
    ) held ON held.before <> 0 AND held.last > a.ex_ts
    WHERE a.symbol = %s AND b.mode = 'paper'
    AND NOT EXISTS (SELECT FROM booked_actions k WHERE k.book_id = b.id AND {_NEAREST})
    ORDER BY b.name, a.ex_ts, a.kind
"""  # noqa: S608

_MOVED = f"""
    SELECT b.name, k.ex_ts, k.kind, k.value, k.per, a.ex_ts, a.value, a.per
    FROM booked_actions k JOIN portfolio_state b ON b.id = k.book_id LEFT JOIN corporate_actions a ON {_NEAREST}
    WHERE k.symbol = %s AND b.mode = 'paper' AND k.ex_ts IS DISTINCT FROM a.ex_ts ORDER BY b.name, k.ex_ts, k.kind
"""  # noqa: S608


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
    """Actions that no paper book can book any more, of shares that it held then and that were traded or split since."""
    rows = statements.fetch(_MISSED, [symbol])
    return [
        (name, Action(symbol=symbol, ex_ts=ex_ts, kind=ActionKind(kind), value=value, per=per))
        for name, ex_ts, kind, value, per in rows
    ]


def moved(symbol: str) -> list[tuple[str, Action, Action | None]]:
    """What paper books booked that is stored no more, with the action that is taken for it and not booked again."""
    found: list[tuple[str, Action, Action | None]] = []
    for name, ex_ts, kind, value, per, *now in statements.fetch(_MOVED, [symbol]):
        before = Action(symbol=symbol, ex_ts=ex_ts, kind=ActionKind(kind), value=value, per=per)
        since = None if now[0] is None else replace(before, ex_ts=now[0], value=now[1], per=now[2])
        found.append((name, before, since))
    return found


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
