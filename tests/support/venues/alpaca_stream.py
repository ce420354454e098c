"""The stream of the stand-in of Alpaca: whom it knows, what it sends to whom, and how it fails on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

KEY_ID, SECRET = "stand-in-id", "stand-in-secret-key"
Row = tuple[datetime, float, float, float, float, float]  # the beginning of a bar, and its figures
KINDS = {"b": "bars", "u": "updatedBars", "t": "trades", "q": "quotes"}


def told(row: Row) -> dict[str, Any]:
    """A bar as the venue writes it."""
    start, *figures = row
    named = dict(zip(("o", "h", "l", "c", "v"), figures, strict=True))
    return {"t": f"{start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", **named, "n": 1, "vw": figures[3]}


@dataclass(slots=True, eq=False)
class _Client:
    loop: asyncio.AbstractEventLoop
    wanted: dict[str, list[str]] = field(default_factory=dict)
    waiting: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)

    def say(self, *messages: dict[str, Any]) -> None:
        self.waiting.put_nowait(json.dumps(messages))


@dataclass(slots=True)
class Stream:
    """Everybody who listens. `change` says what is sent instead of a message."""

    clients: list[_Client] = field(default_factory=list)
    change: Callable[[str], list[str]] = lambda message: [message]
    quotes: dict[str, dict[str, Any]] = field(default_factory=dict)  # the newest of each
    most: int = 1_000  # symbols of which trades and quotes are told
    n_subscribed: int = 0
    n_trades: int = 0

    async def serve(self, receive: Any, send: Any) -> None:
        """One connection, until either side ends it."""
        await receive()
        await send({"type": "websocket.accept"})
        client = _Client(loop=asyncio.get_running_loop())
        client.say({"T": "success", "msg": "connected"})
        self.clients.append(client)
        sending = asyncio.create_task(_send_all(client, send))
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self._asked(client, json.loads(message["text"]))
        finally:
            self.clients.remove(client)
            sending.cancel()

    def bar(self, code: str, row: Row, kind: str = "b") -> None:
        """Tell a bar whose minute is over, or, of kind "u", one that is corrected."""
        self._tell({"T": kind, "S": code, **told(row)})

    def trade(self, code: str, at: datetime, price: float, size: float, taker: str = "") -> None:
        """Tell a trade, with its taker if it is one of a coin."""
        self.n_trades += 1
        of_coin = {"tks": taker} if taker else {}
        self._tell({"T": "t", "S": code, "t": _nanoseconds(at), "p": price, "s": size, "i": self.n_trades, **of_coin})

    def quote(self, code: str, at: datetime, bid: tuple[float, float], ask: tuple[float, float]) -> None:
        """Tell the best bid and the best ask, each with its size; a price of 0 for none."""
        told = dict(zip(("bp", "bs", "ap", "as"), (*bid, *ask), strict=True))
        self.quotes[code] = {"t": _nanoseconds(at), **told}
        self._tell({"T": "q", "S": code, **self.quotes[code]})

    def end_all(self, code: int | None = None, why: str = "") -> None:
        """End every connection, with an error that is told, or without a word."""
        for client in list(self.clients):
            if code is not None:
                client.loop.call_soon_threadsafe(client.say, {"T": "error", "code": code, "msg": why})
            client.loop.call_soon_threadsafe(client.waiting.put_nowait, None)

    def _asked(self, client: _Client, message: dict[str, Any]) -> None:
        if message["action"] == "auth":
            if (message["key"], message["secret"]) == (KEY_ID, SECRET):
                client.say({"T": "success", "msg": "authenticated"})
            else:
                client.say({"T": "error", "code": 402, "msg": "auth failed"})
            return
        if len(message.get("trades", ())) > self.most:
            client.say({"T": "error", "code": 405, "msg": "symbol limit exceeded"})
            return
        client.wanted |= {kind: message[kind] for kind in KINDS.values() if kind in message}
        client.say({"T": "subscription", **dict.fromkeys(KINDS.values(), ()), **client.wanted})
        self.n_subscribed += 1

    def _tell(self, message: dict[str, Any]) -> None:
        sent = self.change(json.dumps([message]))
        for client in list(self.clients):
            if message["S"] in client.wanted.get(KINDS[message["T"]], ()):
                for text in sent:
                    client.loop.call_soon_threadsafe(client.waiting.put_nowait, text)


def _nanoseconds(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}789Z"


async def _send_all(client: _Client, send: Any) -> None:
    while (text := await client.waiting.get()) is not None:
        await send({"type": "websocket.send", "text": text})
    await send({"type": "websocket.close", "code": 1011})
