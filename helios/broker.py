"""The broker as a worker hears it: whatever lies in its queues, which the code of modules can reach, ends no worker.

What is no message is dropped, and so is a key of a queue's name that is none; `kombu` would end the worker of it, at
each start again.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from queue import Empty
from typing import Any, Final

from celery.worker.control import Panel
from django.db import DatabaseError
from kombu.transport import redis as transport
from kombu.transport import virtual
from loguru import logger
from redis import ResponseError

from helios.errors import error_text

UNREAD: Final = (ArithmeticError, AttributeError, DatabaseError, LookupError, RecursionError, TypeError, ValueError)
ANSWERED: Final = (
    *("active", "active_queues", "conf", "enable_events", "heartbeat", "ping", "query_task", "registered", "reserved"),
    *("revoked", "scheduled", "stats"),
)
LATEST: Final = timedelta(hours=1)  # that a task may wait; the longest pause before another try is far less
BINDINGS: Final = "_kombu.binding.*"


class Message(virtual.Message):
    """One message; that of a task which we would not send is refused before it counts as taken."""

    tasks: Container[str] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "task" in self.headers:
            _check(self.headers, self.tasks)


def _check(headers: Mapping[str, Any], tasks: Container[str]) -> None:
    """Raises: one of `UNREAD`."""
    if headers["task"] not in tasks:
        raise ValueError(f"a task must be one of ours, was {headers['task']!r}")
    for limit in headers.get("timelimit") or ():
        if not isinstance(limit, int | float | None):
            raise TypeError(f"limits of time must be numbers, was {limit!r}")
    if (eta := headers.get("eta")) and datetime.fromisoformat(eta) > datetime.now(UTC) + LATEST:
        raise ValueError(f"a task must be due within {LATEST}, was due {eta}")


class Channel(transport.Channel):
    """A connection to the `queues` of this process."""

    Message = Message
    queues: tuple[str, ...] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._drop_what_is_none()

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # as its stubs do not say
        except ResponseError:
            self._drop_what_is_none()
            raise Empty from None
        except UNREAD as error:
            raise _dropped(error) from error

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        try:
            return super()._deliver_fanout_message(message, exchange)  # type: ignore[misc]
        except UNREAD as error:
            raise _dropped(error) from error

    def _drop_what_is_none(self) -> None:
        """Remove the keys of queues, and of what is kept beside them, that are of another type than these."""
        client = self.client
        kinds = {self.unacked_key: b"hash", self.unacked_index_key: b"zset", self.unacked_mutex_key: b"string"}
        for queue in self.queues:
            kinds |= {self._q_for_pri(queue, step): b"list" for step in self.priority_steps}  # type: ignore[attr-defined]
        kinds |= {key.decode(): b"set" for key in client.scan_iter(BINDINGS)}
        for key, kind in kinds.items():
            if client.type(key) not in (kind, b"none"):
                client.delete(key)
                logger.bind(key=key).warning("broker.key_dropped")


def _dropped(error: Exception) -> Empty:
    logger.bind(error=error_text(error)).warning("broker.message_dropped")
    return Empty()


def guard(queues: Iterable[str], tasks: Container[str]) -> None:
    """Have this process hear its queues so, and answer questions from afar, but take no orders: anybody may send them.

    That Celery's workers tell each other what is revoked (`hello`) is an order, too.
    """
    Channel.queues, Message.tasks = tuple(queues), tasks
    transport.Transport.Channel = Channel
    answered = {Panel.data[name] for name in ANSWERED}
    Panel.data.update({name: _ignored for name, answer in Panel.data.items() if answer not in answered})


def _ignored(_state: Any, **_: object) -> None:
    """Nothing happens, and nothing is answered."""
