"""The event bus: typed events on streams of Redis, one a topic, which anybody may follow from any place on.

What is told has happened and is stored: a publisher speaks after its transaction. A stream keeps its newest `KEPT`
events; older ones are in the database alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from loguru import logger
from pydantic import BaseModel, ConfigDict, ValidationError

from helios.errors import Conflict, NotFound, Transient, error_text

if TYPE_CHECKING:  # see helios.redis_client
    import redis

KEPT: Final = 100_000
LONGEST: Final = 1 << 18  # letters of an event: what hundreds of symbols have in one is a third of it
BEGINNING: Final = "0-0"
OF_GROUPS: Final = {"BUSYGROUP": Conflict, "NOGROUP": NotFound}
_PREFIX: Final = "helios:bus:"
_MARKS: Final = "helios:bus-marks"  # up to where a publisher has told what


class Event(BaseModel):
    """Something that happened, in one shape a topic: fields are checked as they are sent and as they are read.

    Fields that a reader does not know are left out, for their publisher may be of a later version.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    topic: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One place of a stream; `event` is None where the `body` cannot be read, and `fault` says why."""

    topic: str
    id: str
    body: str
    event: Event | None
    fault: str = ""


class Bus:
    """The streams of some kinds of events. `guard` is what stands around each call, such as a breaker.

    Every method raises `Transient` where Redis does not answer, and as the guard does.
    """

    def __init__(
        self,
        client: redis.Redis,
        kinds: Iterable[type[Event]],
        *,
        guard: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self.client = client
        self.kinds: Mapping[str, type[Event]] = {kind.topic: kind for kind in kinds}
        self._guard = guard

    def publish(self, events: Iterable[Event], *, marks: dict[Any, Any] | None = None) -> None:
        """Tell events in this order, and with them, all or nothing, up to where their publisher has come.

        One of more than `LONGEST` letters is left out, with a word in the log.
        """
        with self.asking():
            pipe = self.client.pipeline(transaction=True)
            for event in events:
                if len(body := event.model_dump_json()) > LONGEST:
                    logger.bind(topic=event.topic, beginning=body[:200], n=len(body)).error("bus.too_long")
                    continue
                pipe.xadd(key(event.topic), {"body": body}, maxlen=KEPT, approximate=True)
            if marks:
                pipe.hset(_MARKS, mapping=marks)
            pipe.execute()

    def marks(self, names: Sequence[str]) -> list[str]:
        """Up to where publishers of these names have come; empty where nothing is known."""
        if not names:
            return []
        with self.asking():
            found: list[bytes | None] = self.client.hmget(_MARKS, names)  # type: ignore[assignment]  # of the asynchronous one
        return [(mark or b"").decode(errors="replace") for mark in found]

    def read(self, topic: str, after: str = BEGINNING, *, n: int = 100) -> list[Entry]:
        """The next events of a topic behind a place, again as often as one asks."""
        with self.asking():
            found: Any = self.client.xrange(key(topic), f"({after}", "+", count=n)
        return [self.entry(topic, name, fields) for name, fields in found]

    def newest(self, topic: str, *, n: int) -> tuple[list[Entry], int]:
        """The last events of a topic, and how many older ones there are."""
        with self.asking():
            found: Any = self.client.xrevrange(key(topic), count=n)
            in_all: Any = self.client.xlen(key(topic))
        return [self.entry(topic, name, fields) for name, fields in reversed(found)], max(0, in_all - len(found))

    def entry(self, topic: str, name: bytes, fields: Mapping[bytes, bytes]) -> Entry:
        """A stream's entry with its event."""
        body = fields.get(b"body", b"").decode(errors="replace")
        event, fault = None, ""
        try:
            event = self.kinds[topic].model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            fault = f"must be an event of {topic}, was not: {place + ': ' if place else ''}{first['msg']}"
        return Entry(topic=topic, id=name.decode(), body=body, event=event, fault=fault)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """A call to Redis. Raises: `Conflict` where there is a group already, `NotFound` where there is none, too."""
        from redis import RedisError, ResponseError  # noqa: PLC0415 - see helios.redis_client

        try:
            with self._guard():
                yield
        except ResponseError as error:
            kind = next((kind for word, kind in OF_GROUPS.items() if word in str(error)), Transient)
            raise kind(f"the event bus refused: {error_text(error)}") from error
        except (RedisError, OSError) as error:
            raise Transient(f"the event bus did not answer: {error_text(error)}") from error


def key(topic: str) -> str:
    """The stream of a topic."""
    return f"{_PREFIX}{topic}"
