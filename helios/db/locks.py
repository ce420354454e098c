"""Advisory locks of PostgreSQL, by name: until a transaction ends, or for as long as a session works on something."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from django.db import Error, InterfaceError, OperationalError, connection, transaction
from loguru import logger
from psycopg2.errors import LockNotAvailable

from helios.errors import Conflict

WAIT_MS: Final = 2_000  # for who is at work: most are over sooner
SYSTEM_WAIT_MS: Final = 10_000  # what nobody waits for is tried again later
_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextlib.contextmanager
def waiting_once() -> Iterator[None]:
    """All that is `changing` within waits `WAIT_MS` together: what is held after that is refused at once."""
    before = _until.set(time.monotonic() + WAIT_MS / 1e3)
    try:
        yield
    finally:
        _until.reset(before)


def _wait_ms() -> int:
    until = _until.get()
    return WAIT_MS if until is None else max(1, int((until - time.monotonic()) * 1e3))


@contextlib.contextmanager
def changing(what: str, *, wait_ms: int | None = None) -> Iterator[None]:
    """A transaction for what a person changes, which waits `WAIT_MS`, or `wait_ms`, at most for rows that others hold.

    Raises `Conflict`, naming `what`, where they hold one longer: a worker that hangs, or means harm, keeps nobody
    waiting who wants trading to be safer.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(wait_ms or _wait_ms())])
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            held = "a worker or another change holds it: try again in a moment"
            raise Conflict(f"{what} must be free to be changed, {held}") from error
        raise


def hold(*names: str, shared: bool = False, after: str = "") -> None:
    """Wait for these names, in this order, and hold them until the transaction ends; `shared` holders go side by side.

    A name begins with what it is for, so that no two rooms mean the same lock. `after` is a table that is locked for
    reading first.
    """
    named = f"WHERE NOT EXISTS (SELECT FROM ONLY {after} WHERE false)" if after else ""
    how = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {how}(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS wanted(name) {named}",  # noqa: S608 - no input
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
        cursor.execute(f"SELECT {claim(space, number)}")
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine:
            give_back(space, number)


def claim(space: str, number: int | str) -> str:
    """The expression that begins what `claimed` says, as a part of a larger statement; its value is True or False.

    `number` may be another expression, or the place of a value.
    """
    return f"pg_try_advisory_lock(hashtext('{space}'), mod({number}, {2**31})::int4)"


def unclaim(space: str, number: int | str) -> str:
    """The expression that ends it."""
    return f"pg_advisory_unlock(hashtext('{space}'), mod({number}, {2**31})::int4)"


@contextlib.contextmanager
def surely() -> Iterator[None]:
    """For a statement that claims among other things: where it fails, the session ends with whatever it has claimed."""
    try:
        yield
    except Error:
        if not connection.in_atomic_block:
            connection.close()
        raise


def give_back(space: str, number: int) -> None:
    """End it now; with a session that was lost, or cannot say so, it ends too."""
    try:
        with surely(), connection.cursor() as cursor:
            cursor.execute(f"SELECT {unclaim(space, number)}")
    except (OperationalError, InterfaceError):
        return
    except Error as error:  # what went wrong before is the error to see
        if not connection.in_atomic_block:
            return
        logger.bind(space=space, number=number, error=str(error)).error("lock.kept")
