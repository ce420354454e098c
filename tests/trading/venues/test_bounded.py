"""Answers of a hostile server: letter by letter at every place, and larger than they seem."""

from __future__ import annotations

import gzip
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from requests import RequestException, Session

from helios.errors import Transient
from trading.venues import bounded

HEAD = b"HTTP/1.1 200 OK\r\n"
GZIP = HEAD + b"Content-Encoding: gzip\r\n\r\n"
Answer = Callable[[socket.socket, threading.Event], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A server that answers each connection so, once it was asked."""
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not ending.is_set():
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    line.recv(1 << 16)
                    try:
                        answer(line, ending)
                    except OSError:
                        continue  # the other side has had enough

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            ending.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def dripping(begin: bytes, letter: bytes) -> Answer:
    def answer(line: socket.socket, ending: threading.Event) -> None:
        line.sendall(begin)
        while not ending.wait(0.05):
            line.sendall(letter)

    return answer


@pytest.mark.parametrize(
    ("begin", "letter"),
    [
        (HEAD + b"X-A: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"a"),
        (HEAD + b"\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (GZIP + bytes([31, 139, 8, 8, 0, 0, 0, 0, 0, 3]), b"a"),  # a name without an end
        (b"", b""),
    ],
    ids=["head", "on and on", "body", "body without a length", "chunks", "name in gzip", "silence"],
)
def test_an_answer_that_comes_letter_by_letter_is_given_up(
    monkeypatch: pytest.MonkeyPatch, begin: bytes, letter: bytes
) -> None:
    monkeypatch.setattr(bounded, "ANSWER_S", 0.4)
    began = time.monotonic()
    with (
        serving(dripping(begin, letter)) as url,
        bounded.mounted(Session()) as session,
        pytest.raises(Transient, match=r"^the answer must come in 0.4 s, went on$"),
    ):
        session.get(url, timeout=30)
    assert time.monotonic() - began < 20


def test_what_is_packed_tight_is_no_larger_unpacked() -> None:
    """256 MiB of zeros, packed twice into a few hundred bytes."""
    packed = gzip.compress(gzip.compress(bytes(1 << 28), 1), 9)
    head = HEAD + f"Content-Encoding: gzip, gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        serving(lambda line, _: line.sendall(head + packed)) as url,
        bounded.mounted(Session()) as session,
        pytest.raises(Transient, match=r"^the answer must have 16 MiB at most, went on$"),
    ):
        session.get(url, timeout=30)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 100 << 10


def test_an_answer_in_time_is_whole_and_its_connection_is_used_again() -> None:
    body = gzip.compress(b'{"a": 1}')
    head = HEAD + f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def answer(line: socket.socket, _: threading.Event) -> None:
        line.sendall(head + body)
        line.recv(1 << 16)
        line.sendall(head + body)

    with serving(answer) as url, bounded.mounted(Session()) as session:
        assert [session.get(url, timeout=30).json() for _ in range(2)] == [{"a": 1}] * 2


def test_nobody_is_led_to_another_host() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:9/inside\r\nContent-Length: 2\r\n\r\n{}"
    with (
        serving(lambda line, _: line.sendall(head)) as url,
        bounded.mounted(Session()) as session,
        pytest.raises(Transient, match=r"^the answer must lead nowhere else, was a redirect, status 302$"),
    ):
        session.get(url, timeout=30)


def test_an_answer_that_breaks_off_is_told() -> None:
    with (
        serving(lambda line, _: line.sendall(HEAD + b"Content-Length: 9\r\n\r\n12")) as url,
        bounded.mounted(Session()) as session,
        pytest.raises(Transient, match="the answer broke off"),
    ):
        session.get(url, timeout=30)


def test_a_server_that_says_nothing_right_is_an_error_of_requests() -> None:
    with (
        serving(lambda line, _: line.sendall(b"good morning\r\n\r\n")) as url,
        bounded.mounted(Session()) as session,
        pytest.raises(RequestException),
    ):
        session.get(url, timeout=30)
