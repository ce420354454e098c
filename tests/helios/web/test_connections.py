"""A connection that asks nothing, or only half of a question, is closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from helios.web import connections, lanes
from tests.support.lanes import serving
from tests.support.places import ROOT

LARGE = b"x" * 16_777_216


async def answer(scope: Any, receive: Any, send: Any) -> None:
    while (message := await receive()).get("more_body") or (
        scope["path"] == "/hang" and message["type"] != "http.disconnect"
    ):
        pass
    body = LARGE if scope["path"] == "/large" else b"ok"
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(application: Any = answer, **options: Any) -> AsyncIterator[int]:
    """The port of a server of our connections."""
    config = uvicorn.Config(
        application, port=0, http=connections.PatientProtocol, lifespan="off", log_config=None, **options
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - a flag of uvicorn's
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def said_by(reader: asyncio.StreamReader, patience_s: float = 30) -> bytes:
    """All that comes until the other end closes, or for so long."""
    came = b""
    with contextlib.suppress(ConnectionResetError, TimeoutError):
        async with asyncio.timeout(patience_s):
            while part := await reader.read(1024):
                came += part
    return came


@pytest.mark.parametrize("said", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /"])
def test_who_asks_nothing_more_is_let_go(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(connections, "LOOK_S", 0.05)

    async def connect() -> bytes:
        async with served() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            came = await said_by(reader)
            writer.close()
            return came

    assert asyncio.run(connect()).endswith(b"ok" if b"Host" in said else b"")


@pytest.mark.parametrize(
    "said",
    [b"no request\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"],
)
def test_no_flood_of_what_is_no_request_of_ours_fills_the_console(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def flood() -> None:
        async with served(ws="none") as port:
            for _ in range(100):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(said)
                assert await said_by(reader)
                writer.close()

    asyncio.run(flood())
    warned = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warned) < 10


@pytest.mark.parametrize("kept", [b"", b"Connection: close\r\n"], ids=["kept open", "closed"])
def test_who_does_not_take_an_answer_is_let_go_whether_the_connection_is_closed_or_not(
    monkeypatch: pytest.MonkeyPatch, kept: bytes
) -> None:
    monkeypatch.setattr(connections, "LOOK_S", 0.05)

    async def connect() -> None:
        async with served() as port, asyncio.timeout(30):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(b"GET /large HTTP/1.1\r\nHost: h\r\n" + kept + b"\r\n")
            while not connections._open:  # noqa: ASYNC110 - tables of the server itself
                await asyncio.sleep(0.01)
            while connections._open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            writer.close()

    asyncio.run(connect())


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHo",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na",
        b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
    ids=["half a head", "half a body", "an answer that is not taken"],
)
def test_those_who_ask_nothing_or_are_slow_keep_nobody_out_who_asks(said: bytes) -> None:
    async def crowd() -> list[bytes]:
        async with served(limit_concurrency=10) as port:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            for _, writer in silent:
                writer.write(said)
            answers = []
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                answers.append(await said_by(reader))
                writer.close()
            for _, writer in silent:
                writer.close()
            return answers

    assert [b"ok" in answer for answer in asyncio.run(crowd())] == [True] * 3


async def asked(port: int, said: bytes, count: int, **options: Any) -> list[Any]:
    found = [await asyncio.open_connection("127.0.0.1", port, **options) for _ in range(count)]
    for _, writer in found:
        writer.write(said)
    return found


@pytest.mark.parametrize("proxies", [0, 1])
def test_who_has_most_connections_makes_room_for_who_has_few(proxies: int, settings: Any) -> None:
    settings.TRUSTED_PROXIES = proxies
    head = "GET {} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.{}\r\n\r\n"
    question = head.format("/", 1).encode()

    async def crowd() -> list[bytes]:
        async with served(limit_concurrency=10) as port:
            kept = await asked(port, question, 1)
            answers = [await kept[0][0].readuntil(b"ok")]
            flood = []
            for n in (2, 3):
                told = 8 * head.format("/hang", n).encode()
                flood += await asked(port, told, 12, **({} if proxies else {"local_addr": (f"127.0.1.{n}", 0)}))
            await asyncio.sleep(0.1)
            kept[0][1].write(question)
            answers.append(await said_by(kept[0][0], 1))
            kept += await asked(port, question, 1)
            answers.append(await said_by(kept[1][0], 1))
            for _, writer in flood + kept:
                writer.close()
            return answers

    assert [b"ok" in answer for answer in asyncio.run(crowd())] == [True] * 3


def test_who_has_just_come_and_asks_next_is_not_the_one_to_go() -> None:
    async def crowd() -> bytes:
        async with served(limit_concurrency=10) as port:
            busy = b"GET /hang HTTP/1.1\r\nHost: h\r\n\r\n"
            flood = await asked(port, busy, 10)
            ((reader, writer),) = await asked(port, b"", 1)
            flood += await asked(port, busy, 5)
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            came = await said_by(reader)
            for _, each in [*flood, (reader, writer)]:
                each.close()
            return came

    assert asyncio.run(crowd()).endswith(b"ok")


def test_who_leaves_waits_for_no_thread() -> None:
    hang, ran = threading.Event(), list[str]()

    def work(method: str) -> None:
        ran.append(method)
        hang.wait(60)

    async def crowd() -> list[bytes]:
        async with served(lanes.in_lanes(serving(work), reading=1)) as port:
            stayed = await asked(port, b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 1)
            for _, writer in await asked(port, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n", 20):
                await asyncio.sleep(0.01)
                writer.close()
            stayed += await asked(port, b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 1)
            await asyncio.sleep(0.1)
            hang.set()
            answers = [await said_by(reader) for reader, _ in stayed]
            for _, writer in stayed:
                writer.close()
            return answers

    assert [b" 200 " in answer for answer in asyncio.run(crowd())] == [True] * 2
    assert len(ran) == 2


GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """A client's connection, without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.closed = b"", False

    def write(self, data: Any) -> None:
        self.came += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """All is here already."""

    def resume_reading(self) -> None:
        """All is here already."""


async def answered(*parts: bytes) -> tuple[bytes, bool]:
    """What answers these parts, and whether the connection was closed."""
    wire = Wire()
    protocol = connections.PatientProtocol(uvicorn.Config(answer, lifespan="off", log_config=None), ServerState(), {})
    protocol.connection_made(wire)
    for part in parts:
        protocol.data_received(part)
    while not wire.came:  # noqa: ASYNC110 - the application answers in a task of uvicorn's
        await asyncio.sleep(0)
    closed = wire.closed
    protocol.connection_lost(None)
    return wire.came, closed


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (CHUNKED + b"1\r\na\r\n" * 200 + b"0\r\n\r\n", 200),
        (CHUNKED + b"1\r\na\r\n" * 65_000 + b"0\r\n\r\n", 411),
        (GET + b"a:\r\n" * 200 + b"\r\n", 431),
        (GET + b"Cookie: " + b"a" * 60_000 + b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n" + b"a" * 90_000, 200),
    ],
)
def test_a_request_has_a_bounded_number_of_pieces(said: bytes, status: int) -> None:
    came, closed = asyncio.run(answered(said))
    assert came.startswith(f"HTTP/1.1 {status} ".encode())
    assert closed == (status != 200)


def test_a_connection_that_is_gone_leaves_nothing_behind() -> None:
    async def gone() -> bool:
        protocol = connections.PatientProtocol(uvicorn.Config(answer, lifespan="off"), ServerState(), {})
        protocol.connection_made(Wire())
        protocol.connection_lost(None)
        kept = weakref.ref(protocol)
        del protocol
        gc.collect()
        return kept() is None

    assert asyncio.run(gone())


def test_h11_reads_no_chunk_beyond_the_first_too_many() -> None:
    conn = connections.CountingConnection(h11.SERVER)
    conn.receive_data(CHUNKED + b"1\r\na\r\n" * 65_000)
    for _ in range(1 + connections.CHUNKS):  # the head comes first
        assert conn.next_event() is not h11.NEED_DATA
    with pytest.raises(connections.TooManyError):
        conn.next_event()


def test_who_sends_letter_by_letter_is_let_go() -> None:
    came, closed = asyncio.run(answered(*[b"a"] * (connections.READS + 1)))
    assert came.startswith(b"HTTP/1.1 400 ")
    assert closed


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 400))
import django, uvicorn
django.setup()
from helios.web import connections
from tests.helios.web.test_connections import answer
config = uvicorn.Config(answer, port=0, http=connections.PatientProtocol, lifespan="off", log_config=None, backlog=100)
server = uvicorn.Server(config)
listening = config.bind_socket()
listening.listen(100)
print(listening.getsockname()[1], flush=True)
server.run(sockets=[listening])
"""


def test_a_process_of_few_files_answers_while_a_stranger_takes_all_connections() -> None:
    """A shell gives a process 1,024; what is accepted beyond the last one would hold up the loop of events."""
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "helios.settings", "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", FEW_FILES]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environ, cwd=ROOT, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            flood = [socket.create_connection(("127.0.0.1", port), 30, ("127.0.0.2", 0)) for _ in range(450)]
            for each in flood:
                with contextlib.suppress(OSError):  # it was closed to make room
                    each.sendall(b"GET /hang HTTP/1.1\r\nHost: h\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port), 30) as line:
                line.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                assert b"200 OK" in line.recv(1024)
            for each in flood:
                each.close()
        finally:
            process.kill()
