"""A connection that asks nothing, or only half of a question, is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn

from helios.web import connections


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("said", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /"])
def test_who_asks_nothing_more_is_let_go(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(connections, "LOOK_S", 0.05)

    async def connect() -> bytes:
        config = uvicorn.Config(answer, port=0, http=connections.PatientProtocol, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - a flag of uvicorn's
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        came = b""
        try:
            async with asyncio.timeout(30):
                while part := await reader.read(1024):
                    came += part
        except ConnectionResetError:
            pass
        writer.close()
        server.should_exit = True
        await serving
        return came

    assert asyncio.run(connect()).endswith(b"ok" if b"Host" in said else b"")
