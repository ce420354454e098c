"""The right to send an order: on the disk before it leaves, and good while all is as it was when nothing refused it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from psycopg2.extras import Json

from helios.db import statements
from trading.models import Book, Order

GOOD_FOR = timedelta(seconds=1)  # a claim; an order's grace begins when it ends
# What lets an order leave: the book is as it was read, so is what its permission goes by, and its cycle runs.
_AS_SEEN = "b.id = %s AND b.mode = %s AND b.state = %s AND b.flag_overrides = %s AND {unchanged}"
_RUNS = "EXISTS (SELECT FROM pipeline_cycles c WHERE c.id = o.cycle_id AND c.status = 'RUNNING')"
_CLAIM = f"""
    WITH book AS (SELECT b.id FROM portfolio_state b WHERE {_AS_SEEN} FOR NO KEY UPDATE)
    UPDATE orders o SET status = 'SENDING', reason = '', sending_at = statement_timestamp(),
    updated_at = statement_timestamp() FROM book
    WHERE o.id = ANY(%s) AND o.status = 'NEW' AND o.book_id = book.id AND {_RUNS} RETURNING o.id, o.sending_at
"""  # noqa: S608 - no input
_HOLDS = f"""
    SELECT FROM portfolio_state b JOIN orders o ON o.book_id = b.id WHERE {_AS_SEEN} AND o.id = %s
    AND o.status = 'SENDING' AND o.sending_at = %s AND o.sending_at > statement_timestamp() - %s::interval AND {_RUNS}
"""


class Permission:
    """Whether orders of a book may leave, as far as something else than its row has a say: here nothing has."""

    def refusal(self, _book: Book) -> str:
        """Why none may leave any more, by what this process knows; empty when they may."""
        return ""

    def unchanged(self) -> statements.Part:
        """A condition in SQL: what this process knows is still so."""
        return "true", ()

    def refresh(self) -> None:
        """Read it again where it is not."""


ALWAYS = Permission()


def claim(orders: Sequence[Order], book: Book, permission: Permission) -> tuple[set[int], datetime]:
    """Claim orders that wait, if all is as it was read; the keys of those that were claimed, and when."""
    rows = _as_seen(_CLAIM, book, permission, [order.pk for order in orders])
    return {key for key, _ in rows}, max((at for _, at in rows), default=timezone.now())


def holds(order: Order, at: datetime, book: Book, permission: Permission) -> bool:
    """Whether an order may still leave that was claimed `at`: nobody has touched it since, and all is as it was."""
    return bool(_as_seen(_HOLDS, book, permission, order.pk, at, GOOD_FOR))


def _as_seen(sql: str, book: Book, permission: Permission, *values: Any) -> list[tuple[Any, ...]]:
    unchanged, known = permission.unchanged()
    seen = [book.pk, book.mode, book.state, Json(book.flag_overrides), *known]
    return statements.fetch(sql.format(unchanged=unchanged), [*seen, *values])
