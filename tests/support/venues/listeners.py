"""Who listens to a stand-in's stream: what each wants to hear of, what it is sent, and how its line ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class Client:
    """One of them, and what waits to be sent to it; None ends its line."""

    line: asyncio.Transport
    wanted: dict[str, Collection[str]] = field(default_factory=dict)  # codes by kind
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _waiting: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)

    def send(self, *texts: str | None, late_s: float = 0.0) -> None:
        for text in texts:
            self._loop.call_soon_threadsafe(self._loop.call_later, late_s, self._waiting.put_nowait, text)

    def half_close(self) -> None:
        """Send nothing any more, and read on."""
        self._loop.call_soon_threadsafe(self.line.write_eof)

    async def hand_on(self, send: Any) -> None:
        while (text := await self._waiting.get()) is not None:
            await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close", "code": 1011})


@dataclass(slots=True)
class Listeners:
    """Everybody who listens; one that is `deaf` accepts and says nothing.

    `change` says what is sent instead of a message, and all comes so many seconds late.
    """

    clients: list[Client] = field(default_factory=list)
    change: Callable[[str], list[str]] = lambda message: [message]
    late_s: float = 0.0
    deaf: bool = False
    n_subscribed: int = 0

    async def serve(self, headers: dict[str, str], receive: Any, send: Any) -> None:
        """One connection, until either side ends it."""
        await receive()
        if not self.lets_in(headers):
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept"})
        client = Client(send.__self__.transport)  # of uvicorn's protocol
        self.greet(client)
        self.clients.append(client)
        sending = asyncio.create_task(client.hand_on(send))
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self.asked(client, json.loads(message.get("text") or message["bytes"]))
        finally:
            self.clients.remove(client)
            sending.cancel()

    def lets_in(self, headers: dict[str, str]) -> bool:
        return True

    def greet(self, client: Client) -> None:
        """What is said first."""

    def asked(self, client: Client, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def tell(self, kind: str, code: str, text: str) -> None:
        """Send a message to all who want to hear of that."""
        if self.deaf:
            return
        sent = self.change(text)
        for client in list(self.clients):
            if code in client.wanted.get(kind, ()):
                client.send(*sent, late_s=self.late_s)

    def half_close_all(self) -> None:
        """Send nothing any more over any connection, and read on."""
        for client in list(self.clients):
            client.half_close()

    def drop_all(self, *last: str) -> None:
        """End every connection, with a last message or without a word."""
        for client in list(self.clients):
            client.send(*last, None)
