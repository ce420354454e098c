"""VALR's stream of market data: one connection.

Source of its limits: VALR's API documentation, WebSocket API, read 2026-11-28.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
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
LARGEST: Final = 1 << 24  # bytes of a message; a whole order book is the largest
Wanted = Mapping[str, Sequence[str]]  # pairs by kind of message


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
        async with connect(
            address, additional_headers=headers, ping_interval=None, open_timeout=OPEN_S, max_size=LARGEST, proxy=None
        ) as socket:
            await socket.send(_subscription(wanted))
            subscribed()
            await _until_the_end(socket, heard, again, silent_s)
    except (OSError, WebSocketException) as error:
        raise Transient(f"VALR's stream ended: {type(error).__name__}: {error}"[:200]) from error
    raise Transient("VALR's stream ended")


async def _until_the_end(
    socket: ClientConnection, heard: Callable[[bytes], None], again: asyncio.Queue[Wanted], silent_s: float
) -> None:
    last, silent = time.monotonic(), False

    async def keep() -> None:
        """Tell the venue that we are there and what it shall tell again, and end what is silent."""
        nonlocal silent
        pinged = last
        while not silent:
            with contextlib.suppress(TimeoutError):
                wanted = await asyncio.wait_for(again.get(), min(1.0, silent_s / 4))
                await socket.send(_subscription(wanted))
            now = time.monotonic()
            if now - pinged >= min(PING_S, silent_s / 3):
                pinged = now
                await socket.send('{"type":"PING"}')
            if silent := now - last > silent_s:
                socket.transport.abort()

    keeping = asyncio.create_task(keep())
    try:
        while True:
            message = await socket.recv(decode=False)
            last = time.monotonic()
            heard(message)
    except WebSocketException:
        if silent:
            raise Transient(f"VALR's stream was silent for {silent_s:.0f} s") from None
        raise
    finally:
        keeping.cancel()


def _subscription(wanted: Wanted) -> str:
    subscriptions = [{"event": event, "pairs": list(codes)} for event, codes in wanted.items() if codes]
    return orjson.dumps({"type": "SUBSCRIBE", "subscriptions": subscriptions}).decode()
