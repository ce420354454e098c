"""A connection that asks nothing, or only half of a question, is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from helios.web import connections


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[int]:
    """The port of a server of our connections."""
    config = uvicorn.Config(
        answer, port=0, http=connections.PatientProtocol, lifespan="off", log_config=None, **options
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - a flag of uvicorn's
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def said_by(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other end closes."""
    came = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(30):
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


def test_those_who_ask_nothing_keep_nobody_out_who_asks() -> None:
    async def crowd() -> list[bytes]:
        async with served(limit_concurrency=10) as port:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            for _, writer in silent:
                writer.write(b"GET / HTTP/1.1\r\nHo")
            answers = []
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                answers.append(await said_by(reader))
                writer.close()
            for _, writer in silent:
                writer.close()
            return answers

    assert [answer[-2:] for answer in asyncio.run(crowd())] == [b"ok"] * 3
