"""Answers over HTTP that are bounded in size and time, from the first byte of a connection to the last of a body."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from helios.errors import Transient

ANSWER_S: Final = 30.0  # from asking for a connection to the last byte
LARGEST: Final = 16 << 20  # bytes of a body, unpacked: what a venue tells at once is less than one of these
TOO_SLOW: Final = "the answer must come in {:g} s, went on"
_PART: Final = 1 << 16


class Bounded(HTTPAdapter):
    """Takes an answer while it is neither too long nor too slow; what it hands on is whole, and leads nowhere else."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _watched(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        return _watched(super().proxy_manager_for(*args, **options))

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """As `HTTPAdapter.send`. Raises: `Transient` beside its errors."""
        with _ended_in_time() as answer:
            try:
                response = super().send(request, *args, **options)
                with contextlib.closing(response.raw) as raw:
                    body = _whole(raw)
            except (HTTPError, OSError, RequestException) as error:
                if answer.ended:
                    raise Transient(TOO_SLOW.format(ANSWER_S)) from error
                if isinstance(error, RequestException):
                    raise
                raise Transient(f"the answer broke off: {type(error).__name__}") from error
        if answer.ended:  # of a body without a length none can say whether it broke off
            raise Transient(TOO_SLOW.format(ANSWER_S))
        if response.is_redirect:  # whoever asks might follow it to a host that only we reach
            raise Transient(f"the answer must lead nowhere else, was a redirect, status {response.status_code}")
        response.raw = io.BytesIO(body)
        return response


def mounted(session: Session, adapter: type[Bounded] = Bounded) -> Session:
    """The session with all of its answers bounded."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter())
    return session


def _whole(raw: BaseHTTPResponse) -> bytes:
    body = bytearray()
    while part := raw.read1(_PART, decode_content=True):
        body += part
        if len(body) > LARGEST:
            raise Transient(f"the answer must have {LARGEST >> 20} MiB at most, went on")
    return bytes(body)


@dataclass(slots=True)
class _Answer:
    """An answer that is waited for, and a second handle of the line on which it comes."""

    line: socket.socket | None = None
    ended: bool = False

    def comes_on(self, line: socket.socket) -> None:
        self.leave()
        self.line = socket.socket(fileno=os.dup(line.fileno()))
        if self.ended:
            self.end()

    def leave(self) -> None:
        """The line goes on without us."""
        if self.line is not None:
            self.line.close()

    def end(self) -> None:
        """Who reads reads nothing more, whatever he waits for."""
        self.ended = True
        if self.line is not None:
            with contextlib.suppress(OSError):  # it is closed
                self.line.shutdown(socket.SHUT_RDWR)


class _Here(threading.local):
    answer: _Answer | None = None


_here = _Here()


@contextmanager
def _ended_in_time() -> Iterator[_Answer]:
    """Time-outs of a socket are of one read each, which a server that sends letter by letter never reaches."""
    _here.answer = made = _Answer()
    timer = threading.Timer(max(0.0, ANSWER_S), made.end)
    timer.daemon = True
    timer.start()
    try:
        yield made
    finally:
        timer.cancel()
        made.leave()
        _here.answer = None


class _Watched(HTTPConnection):
    """A connection that can be ended by another thread than the one that reads, at any time, also before TLS stands."""

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        _tell(made)
        return made

    def getresponse(self) -> Any:
        _tell(self.sock)
        return super().getresponse()


def _tell(line: socket.socket | None) -> None:
    if _here.answer is not None and line is not None:
        _here.answer.comes_on(line)


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


def _watched(manager: PoolManager) -> PoolManager:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager
