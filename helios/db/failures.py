"""A database that is away, and statements that may fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, cast

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.backends.signals import connection_created
from django.db.utils import DatabaseErrorWrapper

UNAVAILABLE = (OperationalError, InterfaceError)  # the database is away, or gave up a statement
LONGEST_STATEMENT_S: Final = 30  # of what somebody waits for in front of a page


class _BrokenAsOperational(DatabaseErrorWrapper):
    """psycopg2's errors as Django's. What has no code the server never said: the connection broke.

    psycopg2 says so by its plain `DatabaseError` where the server crashed while the connection was idle.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        errors = cast("Any", self).wrapper.Database
        if kind is errors.DatabaseError and getattr(error, "pgcode", None) is None:
            error = errors.OperationalError(*getattr(error, "args", ()))
            kind = errors.OperationalError
        super().__exit__(kind, error, trace)


def report_broken_connections(connection: Any, **_: Any) -> None:
    """Have a new connection raise OperationalError where it broke."""
    connection.wrap_database_errors = _BrokenAsOperational(connection)


def lost(error: BaseException) -> bool:
    """Whether an error means that the database is away. A statement that it gave up leaves the connection usable.

    To be asked outside of the savepoint in which the error was raised.
    """
    return issubclass(type(error), UNAVAILABLE) and not connection.is_usable()


@contextmanager
def savepoint() -> Iterator[None]:
    """For work whose errors the caller catches: a statement that fails in it leaves the transaction around it usable.

    PostgreSQL refuses every statement after a failed one until it is rolled back. Outside of a transaction it is free.
    """
    if not connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        yield


def bound_statements() -> None:
    """From now on the server gives up each statement of this process that takes longer than `LONGEST_STATEMENT_S`."""
    connection_created.connect(_bound, dispatch_uid="helios.db.failures")


def _bound(connection: Any, **_: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = %s", [f"{LONGEST_STATEMENT_S}s"])
