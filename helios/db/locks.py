"""Advisory locks of PostgreSQL, by name: until a transaction ends, or for as long as a session works on something."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db import DatabaseError, connection


def hold(*names: str, shared: bool = False) -> None:
    """Wait for these names, in this order, and hold them until the transaction ends; `shared` holders go side by side.

    A name begins with what it is for, so that no two rooms mean the same lock.
    """
    how = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {how}(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS wanted(name)",  # noqa: S608 - see above
            [list(names)],
        )


def try_hold(name: str) -> bool:
    """Hold the name until the transaction ends, if nobody else does; False while somebody else does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [name])
        return bool(cursor.fetchone()[0])


@contextlib.contextmanager
def claimed(space: str, number: int) -> Iterator[bool]:
    """Whether this database session may work on one of a space's numbers; False while another one does.

    It outlives transactions and is gone with its process: a row lock would keep others from writing meanwhile, and a
    lease would have to outlive its owner.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s), %s)", [space, number % 2**31])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            with contextlib.suppress(DatabaseError), connection.cursor() as cursor:  # a lost session has let go already
                cursor.execute("SELECT pg_advisory_unlock(hashtext(%s), %s)", [space, number % 2**31])
