"""The broker as a worker hears it: whatever lies in its queues, which the code of modules can reach, ends no worker.

What is no message is dropped, and so is a key of a queue's name that is none; `kombu` would end the worker of it, at
each start again.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Container, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty
from typing import Annotated, Any, Final, Literal

from celery.worker.control import Panel
from django.db import DatabaseError
from kombu.transport import redis as transport
from loguru import logger
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, RootModel, ValidationError
from redis import ResponseError

from helios.errors import UNREAD, error_text

UNREADABLE: Final = (*UNREAD, DatabaseError)
ANSWERED: Final = (
    *("active", "active_queues", "conf", "enable_events", "heartbeat", "ping", "query_task", "registered", "reserved"),
    *("revoked", "scheduled", "stats"),
)
LATEST: Final = timedelta(hours=1)  # that a task may wait; the longest pause before another try is far less
QUESTIONS: Final = "celery.pidbox"  # the exchange
BINDINGS: Final = ("_kombu.binding.*", "_kombu.binding_permanent.*")
BINDINGS_END: Final = "_kombu.binding_deadlines"

Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Headers(_Part):
    task: str
    id: str
    retries: NonNegativeInt = 0
    eta: str | None = None
    expires: str | None = None
    timelimit: Annotated[list[Limit | None], Field(min_length=2, max_length=2)] | None = None
    shadow: str | None = None
    group: str | None = None
    group_index: int | None = None
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str = ""
    kwargsrepr: str = ""
    origin: str = ""
    ignore_result: bool | None = None
    replaced_task_nesting: int = 0
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None
    compression: None = None  # of a few bytes it makes many


class _Route(_Part):
    exchange: str
    routing_key: str


class _Properties(_Part):
    delivery_tag: str
    delivery_info: _Route
    body_encoding: Literal["base64"]
    correlation_id: str | None = None
    reply_to: str | None = None
    priority: int | None = None


class _Message(_Part):
    """A message of Celery's protocol 2, the one in which we send, as it lies in a queue."""

    headers: _Headers
    properties: _Properties
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")
    body: str


class _Question(_Part):
    """What a worker is asked from afar. Whom by a pattern is not said: one may take a day to match."""

    method: str
    arguments: dict[str, Any] | None = None
    destination: list[str] | None = None
    pattern: None = None
    matcher: None = None


class _Body(RootModel[tuple[list[Any], dict[str, Any], dict[str, Any]]]):
    """Positional arguments, those by name, and what is to follow."""


def _check(raw: Any, tasks: Container[str]) -> None:
    """Refuse a message that we would not send. Raises: one of `UNREADABLE`."""
    try:
        message = _Message.model_validate(raw)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from error
    _check_body(_Body, message.body)
    if message.headers.task not in tasks:
        raise ValueError(f"a task must be one of ours, was {message.headers.task!r}")
    for name in ("eta", "expires"):
        if (text := getattr(message.headers, name)) and datetime.fromisoformat(text) > datetime.now(UTC) + LATEST:
            raise ValueError(f"a task must be due within {LATEST}, was due {text}")


def _check_body(kind: type[BaseModel], body: Any) -> None:
    try:
        kind.model_validate_json(b64decode(body, validate=True))
    except ValidationError as error:
        raise ValueError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"a message must read as ours do, {'.'.join(map(str, first['loc']))} did not: {first['msg']}"


class QoS(transport.QoS):
    """What was taken, and is not done yet."""

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        try:
            super().restore_by_tag(tag, client, leftmost)
        except UNREADABLE as error:
            self._remove_from_indices(tag).execute()  # type: ignore[attr-defined]  # as its stubs do not say
            _dropped(error)


class Channel(transport.Channel):
    """A connection to the `queues` of this process, in which messages of its `tasks` lie."""

    QoS = QoS
    queues: tuple[str, ...] = ()
    tasks: Container[str] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._drop_what_is_none()

    def basic_consume(self, queue: str, *args: Any, **options: Any) -> Any:
        tag = super().basic_consume(queue, *args, **options)
        if queue in self.queues:
            heard: dict[str, Any] = self.connection._callbacks  # type: ignore[assignment]  # noqa: SLF001 - no other way
            heard[queue] = partial(self._take, heard[queue])
        return tag

    def _take(self, heard: Callable[[Any], None], raw: Any) -> None:
        _check(raw, self.tasks)
        try:
            heard(raw)
        except UNREADABLE:  # it counts as taken by now, and would hold its place for good
            self.basic_reject(raw["properties"]["delivery_tag"])
            raise

    def maybe_refresh_binding_expiry(self) -> None:
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[misc]
        except ResponseError:
            self._drop_what_is_none()

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # as its stubs do not say
        except ResponseError:
            self._drop_what_is_none()
            raise Empty from None
        except UNREADABLE as error:
            raise _dropped(error) from error

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        try:
            if exchange == QUESTIONS:
                _check_body(_Question, message["body"])
            return super()._deliver_fanout_message(message, exchange)  # type: ignore[misc]
        except UNREADABLE as error:
            raise _dropped(error) from error

    def _drop_what_is_none(self) -> None:
        """Remove the keys of queues, and of what is kept beside them, that are of another type than these."""
        client = self.client
        kinds = {self.unacked_key: b"hash", self.unacked_index_key: b"zset", self.unacked_mutex_key: b"string"}
        kinds[BINDINGS_END] = b"zset"
        for queue in self.queues:
            kinds |= {self._q_for_pri(queue, step): b"list" for step in self.priority_steps}  # type: ignore[attr-defined]
        kinds |= {key.decode(): b"set" for pattern in BINDINGS for key in client.scan_iter(pattern)}
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
    Channel.queues, Channel.tasks = tuple(queues), tasks
    transport.Transport.Channel = Channel
    answered = {Panel.data[name] for name in ANSWERED}
    Panel.data.update({name: _ignored for name, answer in Panel.data.items() if answer not in answered})


def _ignored(_state: Any, **_: object) -> None:
    """Nothing happens, and nothing is answered."""
