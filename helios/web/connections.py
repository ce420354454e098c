"""Connections that ask nothing, or never take their answer, are closed: a process has a bounded number of them.

Where all are taken, a new one takes the place of one of the address that has most: of the oldest that is silent, or
else of the oldest that is slow with its body or its answer, or else of the oldest. h11 works in the loop of events for
each header, each chunk and each read: a request has a bounded number of them too.
"""

from __future__ import annotations

import logging
import math
import resource
import sys
from http import HTTPStatus
from itertools import count
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from helios.clients import first_to_go
from helios.logs import now_and_then
from helios.web.bodies import problem
from helios.web.lanes import leave
from helios.web.lifespan import Message
from helios.web.proxies import address_of

LOOK_S: Final = 10.0  # between two looks at a connection
ANSWERED_LOOKS: Final = 12  # so many looks may a request take, with its answer
NEW_S: Final = 1.0  # a connection may be silent or slow for so long before it goes for that
HEAD: Final = 16_384  # bytes of a head, and that h11 is given at a time
HEADERS: Final = 100
CHUNKS: Final = 256  # of a body that comes without a Content-Length
READS, READ = 512, 16  # beyond so many reads of a connection, each has at least so many bytes in the mean
SPARE: Final = 200  # files for all else, and for the connections that are taken in one turn of the loop
_open: dict[PatientProtocol, None] = {}  # the oldest first
_warned = count(1)
_log = logging.getLogger("uvicorn.error.requests")  # uvicorn warns of each that is none, or asks for another protocol
_log.setLevel(logging.WARNING)  # at 0 uvicorn would trace each connection
_log.addFilter(lambda record: record.levelno != logging.WARNING or now_and_then(next(_warned)))


def allow_files() -> int:
    """Have this process open as many files as it may ever; how many that is. Shells and services begin with 1,024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return sys.maxsize if most == resource.RLIM_INFINITY else most


_FILES: Final = allow_files()


class TooManyError(Exception):
    """A request of too many pieces: the status and the sentence it is answered with."""


class CountingConnection(h11.Connection):
    """h11's, which stops at what has too many pieces."""

    _chunks = 0

    def next_event(self) -> Any:
        """The next event. Raises: TooManyError."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
            if len(event.headers) > HEADERS:
                detail = f"a request must have at most {HEADERS} headers, had {len(event.headers)}"
                raise TooManyError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        elif isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > CHUNKS:
                detail = f"a body of more than {CHUNKS} chunks must come with a Content-Length instead, did not"
                raise TooManyError(HTTPStatus.LENGTH_REQUIRED, detail)
        return event


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol, whose own patience begins after the first answer: `uvicorn --http` names this class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn, self.logger = CountingConnection(h11.SERVER, HEAD), _log
        self._reads, self._bytes = 0, 0
        self._most = min(self.limit_concurrency or math.inf, max(1, _FILES - SPARE))
        self.limit_concurrency = None  # it would send anybody away
        self._made, self._whose = self.loop.time(), (object(), "")

    def data_received(self, data: bytes) -> None:
        self._reads, self._bytes = self._reads + 1, self._bytes + len(data)
        if self._reads > READS and self._bytes < READ * self._reads:
            self._refuse(HTTPStatus.BAD_REQUEST, f"a request must come in parts of {READ} bytes or more, did not")
        for start in range(0, len(data), HEAD):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + HEAD])

    def handle_events(self) -> None:
        try:
            super().handle_events()
        except TooManyError as error:
            self._refuse(*error.args)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        self._refuse(HTTPStatus.BAD_REQUEST, f"a request must be HTTP/1.1 with a head of {HEAD} bytes at most, was not")

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer, where no answer has begun, and close; whoever works for the request is told that nobody listens."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            headers, body = problem(status, detail)
            answer = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._looking = self.loop.call_later(LOOK_S, self._look, None, 0)
        _open[self] = None
        if len(_open) > self._most:
            leaving = first_to_go({each: each.whose for each in _open}, PatientProtocol.standing)
            del _open[leaving]
            leaving.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        _open.pop(self, None)
        self._looking.cancel()  # it holds the connection, with all that came
        leave(cast("Message | None", self.scope) or {})
        super().connection_lost(exc)

    @property
    def whose(self) -> str:
        """The address of who asks: the other end's until a request names another."""
        if self._whose[0] is not self.scope:
            asked = cast("Message | None", self.scope)
            self._whose = asked, address_of(asked or {"client": self.client, "headers": ()})
        return self._whose[1]

    def standing(self) -> int:
        """Who is silent goes first, then who is slow, then anybody."""
        if self.loop.time() - self._made < NEW_S:
            return 2
        return 0 if self.idle else 1 if self.slow else 2

    @property
    def idle(self) -> bool:
        """Whether no request is under way: none has begun, or the last one has its answer."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def slow(self) -> bool:
        """Whether a request waits for its client: for the rest of its body, or to take the answer."""
        return not self.idle and (self.cycle.more_body or self.flow.write_paused)

    def _look(self, seen: Any, looks: int) -> None:
        """Close what has begun no request since the last look, and what is at the same one for too long.

        What is closed already may still wait for its client to take the end of an answer.
        """
        cycle = self.cycle
        looks = looks + 1 if cycle is seen else 0
        if (self.idle and cycle is seen) or looks >= ANSWERED_LOOKS:
            self.transport.abort()
        else:
            self._looking = self.loop.call_later(LOOK_S, self._look, cycle, looks)
