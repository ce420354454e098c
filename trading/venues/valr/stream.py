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

from trading.market.order_book import Checksum
from trading.venues.streaming import LEFT, Line, Message, line_to
from trading.venues.valr import messages, order_books
from trading.venues.valr.client import Key

PATH: Final = "/ws/trade"
PING_S: Final = 20.0  # the venue wants one every 30 s
SEND_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Stream:
    """VALR's line; see `trading.venues.streaming.Stream`. The order books of `by_change` come change by change."""

    url: str
    key: Key | None = None
    by_change: frozenset[str] = frozenset()
    source: str = "valr:stream"
    of_trades: bool = True
    grace_s: float = 5.0
    checksum: Checksum = order_books.checksum

    def read(self, message: bytes) -> Sequence[Message]:
        found = messages.read(message)
        return () if found is None else (found,)

    async def listen(
        self,
        codes: Sequence[str],
        heard: Callable[[bytes], None],
        *,
        subscribed: Callable[[], None],
        again: asyncio.Event,
        silent_s: float,
    ) -> None:
        headers = {} if self.key is None else self.key.headers("GET", PATH, now_ms=time.time_ns() // 1_000_000)
        async with line_to("VALR", self.url, PATH, additional_headers=headers, ping_interval=None) as line:
            await line.send(self.subscription(codes, of_all=True))
            subscribed()
            await _Hearing(line, self, codes, again, silent_s).hear(heard)

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
class _Hearing:
    """One open connection, and when it last told something."""

    line: Line
    stream: Stream
    codes: Sequence[str]
    again: asyncio.Event
    silent_s: float
    last: float = field(default_factory=time.monotonic)

    async def hear(self, heard: Callable[[bytes], None]) -> None:
        keeping = asyncio.create_task(self._keep())
        try:
            while True:
                message = await self.line.told()
                self.last = time.monotonic()
                heard(message)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self) -> None:
        """Tell the venue that we are there and what it shall tell again; end a line that is silent or takes nothing."""
        pinged = self.last
        while not self.line.fault:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.again.wait(), min(1.0, self.silent_s / 4))
                self.again.clear()
                await self._send(self.stream.subscription(self.codes))
            now = time.monotonic()
            if now - pinged >= min(PING_S, self.silent_s / 3):
                pinged = now
                await self._send('{"type":"PING"}')
            if now - self.last > self.silent_s:
                self.line.end_for(f"was silent for {self.silent_s:.0f} s")

    async def _send(self, text: str) -> None:
        try:
            await asyncio.wait_for(self.line.send(text), SEND_S)
        except TimeoutError:
            self.line.end_for(LEFT)
