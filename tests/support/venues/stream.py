"""The stream of the stand-in of VALR: what it sends to whom, and how it fails on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.support.venues.depth import Depth
from tests.support.venues.tape import Minute, Trade
from trading.venues.valr.client import signature

KEY, SECRET = "stand-in-key", "stand-in-secret"
Change = Callable[[str], list[str]]  # what is sent in place of a message


def signed(target: str, headers: dict[str, str]) -> bool:
    """Whether a request carries the right signature."""
    given = {name.lower(): value for name, value in headers.items()}
    right = signature(SECRET, int(given.get("x-valr-timestamp", "0")), "GET", target)
    return given.get("x-valr-api-key") == KEY and given.get("x-valr-signature") == right


@dataclass(slots=True, eq=False)
class _Client:
    send: Any
    loop: asyncio.AbstractEventLoop
    wanted: dict[str, set[str]] = field(default_factory=dict)
    waiting: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)


@dataclass(slots=True)
class Stream:
    """Everybody who listens. `change` says what is sent instead of a message; `deaf` accepts and says nothing."""

    clients: list[_Client] = field(default_factory=list)
    change: Change = lambda message: [message]
    deaf: bool = False
    refusing: bool = False
    n_subscribed: int = 0
    depths: dict[str, Depth] = field(default_factory=dict)  # by pair

    async def serve(self, headers: dict[str, str], receive: Any, send: Any) -> None:
        """One connection, until either side ends it."""
        await receive()
        if self.refusing or ("x-valr-api-key" in headers and not signed("/ws/trade", headers)):
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept"})
        client = _Client(send=send, loop=asyncio.get_running_loop())
        self.clients.append(client)
        sending = asyncio.create_task(_send_all(client))
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self._asked(client, json.loads(message.get("text") or message["bytes"]))
        finally:
            self.clients.remove(client)
            sending.cancel()

    def trade(self, pair: str, one: Trade) -> None:
        """Tell a trade to all who want to hear of it."""
        data = {"price": one.price, "quantity": one.quantity, "currencyPair": pair, "takerSide": one.side, "id": one.id}
        data["tradedAt"] = f"{one.at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        self._tell("NEW_TRADE", pair, data)

    def bucket(self, pair: str, one: Minute) -> None:
        """Tell the bar of a minute that is over."""
        prices = {name: getattr(one, name) for name in ("open", "high", "low", "close", "volume")}
        start = f"{one.start:%Y-%m-%dT%H:%M:%SZ}"
        data = {"currencyPairSymbol": pair, "bucketPeriodInSeconds": 60, "startTime": start, **prices}
        self._tell("NEW_TRADE_BUCKET", pair, data)

    def summary(self, pair: str, at: datetime, **figures: str) -> None:
        """Tell the state of the market."""
        names = ("askPrice", "bidPrice", "lastTradedPrice", "previousClosePrice", "baseVolume", "highPrice", "lowPrice")
        usual = dict.fromkeys((*names, "changeFromPrevious", "markPrice"), "0")
        created = f"{at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        self._tell("MARKET_SUMMARY_UPDATE", pair, {"currencyPair": pair, **usual, **figures, "created": created})

    def offer(self, at: datetime, pair: str, side: str, name: str, price: str, quantity: str) -> None:
        """Tell what an order has now to all who follow the order book, and the best of it to who wants it whole."""
        depth = self.depths.setdefault(pair, Depth(pair))
        self._send("FULL_ORDERBOOK_UPDATE", pair, depth.put(at, side, name, price, quantity))
        self._tell("AGGREGATED_ORDERBOOK_UPDATE", pair, depth.aggregated())

    def drop_all(self) -> None:
        """End every connection without a word."""
        for client in list(self.clients):
            client.loop.call_soon_threadsafe(client.waiting.put_nowait, None)

    def _asked(self, client: _Client, message: dict[str, Any]) -> None:
        if message["type"] == "PING" and not self.deaf:
            client.waiting.put_nowait(json.dumps({"type": "PONG"}))
        for one in message.get("subscriptions", ()):
            client.wanted[one["event"]] = set(one["pairs"])
            self.n_subscribed += 1
            for depth in (self.depths[pair] for pair in one["pairs"] if pair in self.depths and not self.deaf):
                if one["event"] == "FULL_ORDERBOOK_UPDATE":
                    client.waiting.put_nowait(depth.whole())
                elif one["event"] == "AGGREGATED_ORDERBOOK_UPDATE":
                    client.waiting.put_nowait(_text(one["event"], depth.pair, depth.aggregated()))

    def _tell(self, kind: str, pair: str, data: dict[str, Any]) -> None:
        self._send(kind, pair, _text(kind, pair, data))

    def _send(self, kind: str, pair: str, text: str) -> None:
        if self.deaf:
            return
        sent = self.change(text)
        for client in list(self.clients):
            if pair in client.wanted.get(kind, ()):
                for each in sent:
                    client.loop.call_soon_threadsafe(client.waiting.put_nowait, each)


def _text(kind: str, pair: str, data: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "currencyPairSymbol": pair, "data": data})


async def _send_all(client: _Client) -> None:
    while (text := await client.waiting.get()) is not None:
        await client.send({"type": "websocket.send", "text": text})
    await client.send({"type": "websocket.close", "code": 1011})
