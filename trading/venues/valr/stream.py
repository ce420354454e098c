"""VALR's stream of market data: one connection.

Source of its limits: VALR's API documentation, WebSocket API, read 2026-11-28.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from helios.errors import Transient
from trading.venues.valr.client import Key

PATH: Final = "/ws/trade"
PING_S: Final = 20.0  # the venue wants one every 30 s
SILENT_S: Final = 45.0  # a connection over which nothing comes for so long is dead, whatever the socket says
OPEN_S: Final = 10.0
SEND_S: Final = 5.0
MOST_UNREAD: Final = 1 << 20  # bytes that the venue has not taken, such as answers to its pings
UNREAD: Final = "must be read by the venue too, which left what it was sent"
LARGEST: Final = 1 << 24  # bytes of a message; a whole order book is the largest
Wanted = Mapping[str, Sequence[str]]  # pairs by kind of message


class _Straight(connect):
    """A connection to the venue itself: what it is redirected to would get the key and a signature."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def listen(
    url: str,
    wanted: Wanted,
    heard: Callable[[bytes], None],
    *,
    subscribed: Callable[[], None],
    again: asyncio.Queue[Wanted],
    key: Key | None = None,
    silent_s: float = SILENT_S,
) -> None:
    """Hear one connection out, from subscribing to its end; `heard` is called with each message.

    What comes by `again` is subscribed to once more. Raises: `Transient`, always: it tells how the connection ended.
    """
    headers = {} if key is None else key.headers("GET", PATH, now_ms=time.time_ns() // 1_000_000)
    address = url.rstrip("/").replace("http", "ws", 1) + PATH
    try:
        async with _Straight(
            address, additional_headers=headers, ping_interval=None, open_timeout=OPEN_S, max_size=LARGEST, proxy=None
        ) as socket:
            await socket.send(_subscription(wanted))
            subscribed()
            await _Line(socket, again, silent_s).hear(heard)
    except (OSError, WebSocketException) as error:
        raise Transient(f"VALR's stream ended: {type(error).__name__}: {error}"[:200]) from error
    raise Transient("VALR's stream ended")


@dataclass(slots=True)
class _Line:
    """One open connection, and why we ended it."""

    socket: ClientConnection
    again: asyncio.Queue[Wanted]
    silent_s: float
    last: float = field(default_factory=time.monotonic)
    fault: str = ""

    async def hear(self, heard: Callable[[bytes], None]) -> None:
        keeping = asyncio.create_task(self._keep())
        try:
            while True:
                message = await self.socket.recv(decode=False)
                self.last = time.monotonic()
                heard(message)
        except WebSocketException:
            if self.fault:
                raise Transient(f"VALR's stream {self.fault}") from None
            raise
        finally:
            keeping.cancel()

    async def _keep(self) -> None:
        """Tell the venue that we are there and what it shall tell again; end a line that is silent or takes nothing."""
        pinged = self.last
        while not self.fault:
            with contextlib.suppress(TimeoutError):
                wanted = await asyncio.wait_for(self.again.get(), min(1.0, self.silent_s / 4))
                await self._send(_subscription(wanted))
            now = time.monotonic()
            if now - pinged >= min(PING_S, self.silent_s / 3):
                pinged = now
                await self._send('{"type":"PING"}')
            if self.socket.transport.get_write_buffer_size() > MOST_UNREAD:
                self.fault = UNREAD
            elif now - self.last > self.silent_s:
                self.fault = f"was silent for {self.silent_s:.0f} s"
        self.socket.transport.abort()

    async def _send(self, text: str) -> None:
        try:
            await asyncio.wait_for(self.socket.send(text), SEND_S)
        except TimeoutError:
            self.fault = UNREAD


def _subscription(wanted: Wanted) -> str:
    subscriptions = [{"event": event, "pairs": list(codes)} for event, codes in wanted.items() if codes]
    return orjson.dumps({"type": "SUBSCRIBE", "subscriptions": subscriptions}).decode()
