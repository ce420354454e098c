"""VALR's stream of market data: one connection, and what its messages say in our words.

Source of messages and limits: VALR's API documentation, WebSocket API, read 2026-11-28.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from helios.errors import Transient
from trading.enums import Side
from trading.venues.valr.client import Key
from trading.venues.valr.market import bucket, number

PATH: Final = "/ws/trade"
EVENTS: Final = ("NEW_TRADE", "NEW_TRADE_BUCKET")
PING_S: Final = 20.0  # the venue wants one every 30 s
SILENT_S: Final = 45.0  # a connection over which nothing comes for so long is dead, whatever the socket says
OPEN_S: Final = 10.0
LARGEST: Final = 1 << 22  # bytes of a message
SIDES: Final = {"buy": Side.BUY.value, "sell": Side.SELL.value}


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade that the venue has just told."""

    code: str
    at: int  # microseconds since 1970
    price: float
    quantity: float
    side: str  # of the taker


@dataclass(frozen=True, slots=True)
class Bucket:
    """The venue's bar of a minute; `row` is None where nobody traded."""

    code: str
    close: int  # microseconds since 1970
    row: tuple[float, float, float, float, float] | None


Message = Trade | Bucket


def read(message: bytes | str) -> Message | None:
    """What a message says; None where it is of another kind. Raises: `Transient` where it cannot be read."""
    try:
        found = orjson.loads(message)
        kind = found["type"]
        if kind == "NEW_TRADE":
            return _trade(found["currencyPairSymbol"], found["data"])
        if kind == "NEW_TRADE_BUCKET":
            return _bucket(found["currencyPairSymbol"], found["data"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Transient(f"VALR's stream must send messages as documented, sent {message[:80]!r}") from error
    return None


async def listen(
    url: str,
    codes: Sequence[str],
    heard: Callable[[bytes], None],
    *,
    subscribed: Callable[[], None],
    key: Key | None = None,
    silent_s: float = SILENT_S,
) -> None:
    """Hear one connection out, from subscribing to its end; `heard` is called with each message.

    Raises: `Transient`, always: it tells how the connection ended.
    """
    headers = {} if key is None else key.headers("GET", PATH, now_ms=time.time_ns() // 1_000_000)
    address = url.rstrip("/").replace("http", "ws", 1) + PATH
    try:
        async with connect(
            address, additional_headers=headers, ping_interval=None, open_timeout=OPEN_S, max_size=LARGEST, proxy=None
        ) as socket:
            await socket.send(_subscription(codes))
            subscribed()
            await _until_the_end(socket, heard, silent_s)
    except (OSError, WebSocketException) as error:
        raise Transient(f"VALR's stream ended: {type(error).__name__}: {error}"[:200]) from error
    raise Transient("VALR's stream ended")


async def _until_the_end(socket: ClientConnection, heard: Callable[[bytes], None], silent_s: float) -> None:
    last, silent = time.monotonic(), False

    async def keep() -> None:
        """Tell the venue that we are there, and end what is silent."""
        nonlocal silent
        pinged = last
        while not silent:
            await asyncio.sleep(min(1.0, silent_s / 4))
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


def _subscription(codes: Sequence[str]) -> str:
    wanted = [{"event": event, "pairs": list(codes)} for event in EVENTS]
    return orjson.dumps({"type": "SUBSCRIBE", "subscriptions": wanted}).decode()


def _trade(code: str, data: dict[str, Any]) -> Trade:
    if data["currencyPair"] != code:
        raise ValueError(code)
    return Trade(
        code, microseconds(data["tradedAt"]), number(data, "price"), number(data, "quantity"), SIDES[data["takerSide"]]
    )


def _bucket(code: str, data: dict[str, Any]) -> Bucket:
    found = bucket(data, code)
    start = microseconds(data["startTime"])
    return Bucket(code, start + 60_000_000, None if found is None else found[1:])


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(text: str) -> int:
    """A time such as 2019-04-25T19:51:55.393Z since 1970."""
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
