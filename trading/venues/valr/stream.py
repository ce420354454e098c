"""VALR's stream of market data: one connection.

Source of its limits: VALR's API documentation, WebSocket API, read 2026-11-28.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from helios.errors import Transient
from trading.venues.streaming import LARGEST, OPEN_S, SILENT_S, Message, Straight, address
from trading.venues.valr import messages
from trading.venues.valr.client import Key

PATH: Final = "/ws/trade"
PING_S: Final = 20.0  # the venue wants one every 30 s
SEND_S: Final = 5.0
MOST_UNREAD: Final = 1 << 20  # bytes that the venue has not taken, such as answers to its pings
UNREAD: Final = "must be read by the venue too, which left what it was sent"


@dataclass(frozen=True, slots=True)
class Stream:
    """VALR's line; see `trading.venues.streaming.Stream`. The order books of `by_change` come change by change."""

    url: str
    key: Key | None = None
    by_change: frozenset[str] = frozenset()
    source: str = "valr:stream"
    trades: bool = True
    whole: bool = True
    books: bool = True
    grace_s: float = 5.0

    def read(self, message: bytes) -> Sequence[Message]:
        found = messages.read(message)
        return () if found is None else (found,)

    async def listen(
        self,
        codes: Sequence[str],
        heard: Callable[[bytes], None],
        *,
        subscribed: Callable[[], None],
        again: asyncio.Queue[Sequence[str]],
        silent_s: float = SILENT_S,
    ) -> None:
        headers = {} if self.key is None else self.key.headers("GET", PATH, now_ms=time.time_ns() // 1_000_000)
        try:
            async with Straight(
                address(self.url, PATH),
                additional_headers=headers,
                ping_interval=None,
                open_timeout=OPEN_S,
                max_size=LARGEST,
                proxy=None,
            ) as socket:
                await socket.send(self.subscription(codes, of_all=True))
                subscribed()
                await _Line(socket, self, again, silent_s).hear(heard)
        except (OSError, WebSocketException) as error:
            raise Transient(f"VALR's stream ended: {type(error).__name__}: {error}"[:200]) from error
        raise Transient("VALR's stream ended")

    def subscription(self, codes: Sequence[str], *, of_all: bool = False) -> str:
        """What asks for the order books of these pairs, and, `of_all`, for their trades, bars and summaries."""
        by_change = [code for code in codes if code in self.by_change]
        whole = [code for code in codes if code not in self.by_change]
        wanted: dict[str, Sequence[str]] = {messages.CHANGES: by_change, messages.AGGREGATED: whole}
        if of_all:
            wanted |= dict.fromkeys((messages.TRADES, messages.BUCKETS, messages.SUMMARY), tuple(codes))
        subscriptions = [{"event": event, "pairs": pairs} for event, pairs in wanted.items() if pairs]
        return orjson.dumps({"type": "SUBSCRIBE", "subscriptions": subscriptions}).decode()


@dataclass(slots=True)
class _Line:
    """One open connection, and why we ended it."""

    socket: ClientConnection
    stream: Stream
    again: asyncio.Queue[Sequence[str]]
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
                codes = await asyncio.wait_for(self.again.get(), min(1.0, self.silent_s / 4))
                await self._send(self.stream.subscription(codes))
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
