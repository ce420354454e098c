"""A server that is away: said once when that begins and once when it is over, in the same words in every process.

Whoever meets an error hands it to `report`; one that is no outage is the caller's to report. While a server is away
a thread asks it, with growing pauses, whether it answers again, so that nobody else has to try, and what the libraries
say about each of their own attempts is counted instead of logged.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final, cast

import django.db
import psycopg2
from loguru import logger
from psycopg2 import errorcodes

from helios.errors import causes, error_text
from helios.redis_client import connect

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 4.0
PROBE_TIMEOUT_S: Final = 2
_BEHIND: Final = (errorcodes.UNDEFINED_TABLE, errorcodes.UNDEFINED_COLUMN)
_LOST_SESSION: Final = ("57P01", "57P02", "57P03", "08")  # shut down, crashed, starting up; connection exceptions

Errors = tuple[type[Exception], ...]
_code_of: Callable[[psycopg2.Error], str | None] = psycopg2.Error.__dict__["pgcode"].__get__


class Outage:
    """What this process knows of one server."""

    def __init__(self, server: str, ask: Callable[[], None], errors: Callable[[], Errors]) -> None:
        """`ask` raises one of `errors()` while the server does not answer."""
        self._server, self._ask, self._errors = server, ask, errors
        self.forget()

    @property
    def away(self) -> bool:
        """Whether the server does not answer now."""
        return not self._over.is_set()

    def forget(self) -> None:
        """Begin anew, as a forked process must: neither the thread nor a held lock came with it."""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._over.set()
        self._silenced = 0

    def wait_over(self, timeout_s: float) -> bool:
        """Wait until the server answers again; False when it did not in time."""
        return self._over.wait(timeout_s)

    def report(self, error: BaseException, during: str) -> None:
        """Somebody could not reach the server, or lost a connection to it."""
        with self._lock:
            if self.away:
                self._silenced += 1
                return
            reason = self._refusal()
            if reason is None:  # the connection broke, the server is there
                logger.bind(server=self._server, error=_short(error), during=during).warning("connection.lost")
                return
            self._over.clear()
            self._silenced = 0
            logger.bind(server=self._server, error=_short(reason)).warning("outage.began")
            threading.Thread(
                target=self._await_end, args=(self._over, time.monotonic()), name=f"outage-{self._server}", daemon=True
            ).start()

    def _refusal(self) -> Exception | None:
        try:
            self._ask()
        except self._errors() as error:
            return error
        return None

    def _await_end(self, over: threading.Event, since: float) -> None:
        pause_s = FIRST_PAUSE_S
        while over is self._over and self._refusal() is not None:
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        lasted_s = round(time.monotonic() - since, 1)
        with self._lock:
            if over is not self._over:  # forgotten meanwhile
                return
            logger.bind(server=self._server, lasted_s=lasted_s, silenced=self._silenced).warning("outage.ended")
            over.set()  # who waits for it finds it said


def _ask_postgres() -> None:
    connection = django.db.connections[django.db.DEFAULT_DB_ALIAS]
    given = {**connection.get_connection_params(), "connect_timeout": PROBE_TIMEOUT_S}
    psycopg2.connect(**given).close()


def _ask_valkey() -> None:
    from django.conf import settings  # noqa: PLC0415 - at the address that is configured when it is asked

    client = connect(settings.REDIS_URL, timeout_s=PROBE_TIMEOUT_S)
    try:
        client.ping()
    finally:
        client.close()


def _valkey_errors() -> Errors:
    from redis import RedisError  # noqa: PLC0415 - see helios.redis_client

    return (RedisError, OSError)


POSTGRES: Final = Outage("PostgreSQL", _ask_postgres, lambda: (psycopg2.Error,))
VALKEY: Final = Outage("Valkey", _ask_valkey, _valkey_errors)


def report(error: BaseException, *, during: str = "", clearing_up: bool = False) -> bool:
    """Whether the error means that a server is away or dropped a connection; then it is reported here, once an outage.

    `during` says in a few words what could not be done. `clearing_up`: what a library raises while it deals with such
    an error is part of it, too.
    """
    for each in reversed(list(causes(error, contexts=clearing_up))):
        if _lost_postgres(each):
            POSTGRES.report(each, during)
            return True
        if _lost_valkey(each):
            VALKEY.report(each, during)
            return True
    return False


def behind(error: BaseException) -> bool:
    """Whether an error of Django's means that PostgreSQL answers and lacks tables of this version: `migrate` helps."""
    return getattr(error.__cause__, "pgcode", None) in _BEHIND


def _lost_postgres(error: BaseException) -> bool:
    """A connection that failed or broke has no code, other than a deadlock or a time limit."""
    kind = type(error)  # `isinstance` would ask the error for its class
    if issubclass(kind, (psycopg2.InterfaceError, django.db.InterfaceError)):
        return "closed" in error_text(error)
    if not issubclass(kind, psycopg2.OperationalError):
        return False
    code = _code_of(cast("psycopg2.Error", error))
    return code is None or code.startswith(_LOST_SESSION)


def _lost_valkey(error: BaseException) -> bool:
    import redis  # noqa: PLC0415 - see helios.redis_client
    from kombu.exceptions import OperationalError as BrokerError  # noqa: PLC0415

    return issubclass(type(error), (redis.ConnectionError, redis.TimeoutError, BrokerError))


def _short(error: BaseException) -> str:
    return " ".join(error_text(error).split())[:300]


def forget() -> None:
    """Begin anew in this process."""
    for each in (POSTGRES, VALKEY):
        each.forget()


os.register_at_fork(after_in_child=forget)
