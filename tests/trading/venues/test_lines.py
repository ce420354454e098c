"""One connection to a venue's stream: where it must not lead, and what it must not cost."""

from __future__ import annotations

import asyncio
import contextlib
import http
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.server import ServerConnection, serve
from websockets.utils import accept_key

from helios.errors import Transient
from trading.venues import streaming
from trading.venues.alpaca import stream as alpaca_stream
from trading.venues.alpaca.client import Key as AlpacaKey
from trading.venues.streaming import LARGEST, LONG, SILENT_S
from trading.venues.valr import stream
from trading.venues.valr.client import Key

Handler = Callable[[ServerConnection], Awaitable[None]]
PEM = serialization.Encoding.PEM
KEY = Key(key="stand-in-key", secret="stand-in-secret")


def valr(url: str) -> stream.Stream:
    return stream.Stream(url, KEY)


def alpaca(url: str) -> alpaca_stream.Stream:
    return alpaca_stream.Stream(url, "/v2/iex", AlpacaKey(key_id="id", secret="secret"))


async def ended(
    port: int,
    line: Callable[[str], Any] = valr,
    *,
    silent_s: float = SILENT_S,
    heard: Callable[[bytes], None] = lambda _: None,
) -> str:
    """How a connection to a server on this machine ends."""
    with pytest.raises(Transient) as told:
        await asyncio.wait_for(
            line(f"http://127.0.0.1:{port}").listen(
                ["BTCZAR"],
                heard,
                subscribed=lambda: None,
                again=asyncio.Event(),
                silent_s=silent_s,
            ),
            60,
        )
    return str(told.value)


def port_of(server: Any) -> int:
    return server.sockets[0].getsockname()[1]


class Between:
    """How many turns the other line has had at each message."""

    def __init__(self, turns: list[float]) -> None:
        self.turns, self.n = turns, list[int]()

    def append(self, _: bytes) -> None:
        self.n.append(len(self.turns))


def test_a_redirect_leads_nowhere_so_that_nobody_else_gets_a_signature() -> None:
    asked: list[Any] = []

    async def take(socket: ServerConnection) -> None:
        asked.append(socket.request)

    async def run() -> str:
        async with serve(take, "127.0.0.1", 0) as other:

            def redirect(socket: ServerConnection, request: Any) -> Any:
                answer = socket.respond(http.HTTPStatus.FOUND, "")
                answer.headers["Location"] = f"ws://127.0.0.1:{port_of(other)}/steal"
                return answer

            async with serve(take, "127.0.0.1", 0, process_request=redirect) as venue:
                return await ended(port_of(venue))

    assert asyncio.run(run()).startswith("VALR's stream ended: InvalidStatus: server rejected WebSocket connection")
    assert asked == []


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a server at 127.0.0.1 that is believed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a venue")])
    number, until = x509.random_serial_number(), now + timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), number, now, until).add_extension(address, False)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = tmp_path / "venue.pem"
    file.write_bytes(key.private_bytes(PEM, *form) + made.sign(key, hashes.SHA256()).public_bytes(PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def by_tls(url: str) -> stream.Stream:
    return valr(url.replace("http", "https"))


@pytest.mark.parametrize(
    ("line", "venue", "begin"),
    [
        (valr, "VALR", []),
        (alpaca, "Alpaca", ['{"msg":"connected"}', '{"msg":"authenticated"}', '{"T":"subscription"}']),
    ],
)
def test_a_venue_that_sends_and_reads_nothing_is_left(line: Callable[[str], Any], venue: str, begin: list[str]) -> None:
    """Each ping is answered; what the venue does not take would pile up here."""

    async def flood(socket: ServerConnection) -> None:
        for each in begin:
            await socket.send(f"[{each}]")
        for _ in begin[1:]:
            await socket.recv()
        socket.transport.pause_reading()
        while True:
            for _ in range(200):
                socket.protocol.send_ping(b"x" * 125)
            socket.send_data()
            await socket.drain()
            await asyncio.sleep(0)

    async def run() -> str:
        async with serve(flood, "127.0.0.1", 0, close_timeout=0) as server:
            return await ended(port_of(server), line, silent_s=120.0)

    assert asyncio.run(run()) == f"{venue}'s stream must be read by the venue too, which left what it was sent"


def test_what_was_read_of_a_venue_that_is_left_is_answered_no_more(
    certificate: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    """Over TLS each answer would be a warning of asyncio's."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", head)
        lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
        lines.append(b"Sec-WebSocket-Accept: " + accept_key(key.decode()).encode())
        writer.write(b"\r\n".join([*lines, b"", b""]))
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"\x89\0" * 2_000)
                await writer.drain()

    async def run() -> str:
        async with await asyncio.start_server(flood, "127.0.0.1", 0, ssl=certificate) as server:
            return await ended(port_of(server), by_tls)

    assert asyncio.run(run()) == "VALR's stream must be read by the venue too, which left what it was sent"
    assert caplog.text.count("SSL connection is closed") == 0


def test_no_packed_message_is_taken_and_none_larger_than_it_was_sent() -> None:
    async def tell(socket: ServerConnection) -> None:
        assert socket.request is not None
        asked.append(socket.request.headers.get("Sec-WebSocket-Extensions"))
        await socket.send(b" " * (LARGEST + 1))

    async def run() -> str:
        async with serve(tell, "127.0.0.1", 0) as venue:
            return await ended(port_of(venue))

    asked: list[str | None] = []
    assert "message too big" in asyncio.run(run())
    assert asked == [None]


def test_a_venue_of_long_messages_that_are_there_already_leaves_other_lines_their_turn() -> None:
    """Sixteen of them wait in the connection, and to hear one takes a while."""
    turns: list[float] = []

    async def tell(socket: ServerConnection) -> None:
        for _ in range(40):
            await socket.send(b"{" + b" " * (2 * LONG))

    async def other() -> None:
        while True:
            turns.append(time.monotonic())
            await asyncio.sleep(0)

    async def run() -> str:
        beside = asyncio.create_task(other())
        async with serve(tell, "127.0.0.1", 0) as venue:
            line = valr(f"http://127.0.0.1:{port_of(venue)}")
            with pytest.raises(Transient) as told:
                await line.listen(
                    ["BTCZAR"],
                    between.append,
                    subscribed=lambda: None,
                    again=asyncio.Event(),
                    silent_s=SILENT_S,
                )
        beside.cancel()
        return str(told.value)

    between = Between(turns)
    asyncio.run(run())
    assert len(between.n) == 40
    assert all(after > before for before, after in pairwise(between.n))


@pytest.mark.parametrize("line", [valr, by_tls])
@pytest.mark.parametrize("frame", [b"\x89\0", b"\x8a\0", b"\x81\0"], ids=["pings", "pongs", "messages"])
def test_a_flood_of_frames_that_hold_nothing_leaves_other_lines_their_turn(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, line: Callable[[str], Any], frame: bytes
) -> None:
    turn, n_bytes, taken = 0, Counter[int](), streaming.Line.data_received

    all_read = asyncio.Event()

    def counted(self: streaming.Line, data: bytes) -> None:
        n_bytes[turn] += len(data)
        taken(self, data)
        if n_bytes.total() >= 200_000:
            all_read.set()

    monkeypatch.setattr(streaming.Line, "data_received", counted)

    async def flood(socket: ServerConnection) -> None:
        socket.data_received = len  # type: ignore[method-assign, assignment]  # what comes is not looked at
        socket.transport.write(frame * 100_000)
        await all_read.wait()
        socket.transport.abort()

    async def other() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    async def run() -> None:
        beside = asyncio.create_task(other())
        async with serve(flood, "127.0.0.1", 0, ssl=certificate if line is by_tls else None) as venue:
            await ended(port_of(venue), line)
        beside.cancel()

    asyncio.run(run())
    assert n_bytes.total() >= 200_000
    assert max(n_bytes.values()) <= 8_192  # of a turn: over TLS it may be two reads


@pytest.mark.parametrize("line", [valr, by_tls])
def test_a_long_message_is_heard_whole(certificate: ssl.SSLContext, line: Callable[[str], Any]) -> None:
    long, heard = random.Random(0).randbytes(1_000_000), list[bytes]()

    async def tell(socket: ServerConnection) -> None:
        await socket.send(long)
        await socket.send(b"and a short one")

    async def run() -> None:
        async with serve(tell, "127.0.0.1", 0, ssl=certificate if line is by_tls else None) as venue:
            await ended(port_of(venue), line, heard=heard.append)

    asyncio.run(run())
    assert heard == [long, b"and a short one"]


def test_a_venue_that_does_not_answer_the_end_of_a_line_holds_it_up_for_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience, made = [], streaming.Line.connection_made

    def noted(self: streaming.Line, transport: asyncio.BaseTransport) -> None:
        patience.append(self.close_timeout)
        made(self, transport)

    monkeypatch.setattr(streaming.Line, "connection_made", noted)

    async def run() -> None:
        async with serve(ServerConnection.wait_closed, "127.0.0.1", 0, close_timeout=0) as venue:
            await ended(port_of(venue), silent_s=0.5)

    asyncio.run(run())
    assert patience == [2]


def test_a_venue_that_says_nothing_is_left_in_time() -> None:
    async def run() -> str:
        async with serve(ServerConnection.wait_closed, "127.0.0.1", 0, close_timeout=0) as venue:
            return await ended(port_of(venue), silent_s=0.5)

    assert asyncio.run(run()) == "VALR's stream was silent for 0 s"
